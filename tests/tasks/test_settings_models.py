"""Several models in one project: a file laid over params.yaml, and what is apart by itself."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tasks.core.errors import BadInput
from tasks.settings import Settings, for_model, load_settings, models

VALUES: dict[str, list[Any]] = {
    "base.chat_template": [None, "t.jinja"],
    "collect.train_packages": [["numpy"], ["pandas", "scipy"]],
    "curate.inputs": [["a.jsonl"], ["b.jsonl", "c.jsonl"]],
    "curate.quality.min_tokens": [1, 9],
    "decisions.review": ["optional", "required"],
    "evaluate.benchmarks": [["a.jsonl"], ["b.jsonl", "c.jsonl"]],
    "tune.learning_rate": [0.001, 0.01],
    "tune.method.name": ["lora", "dora"],
    "tune.source_weights": [{}, {"x": 0.25}],
    "sweep.trials": [1, 5],
    "sweep.space": [{}, {"tune.learning_rate": [0.1, 0.2]}],
    "watch.traffic": ["here", "there"],
}
KEYS = {key: st.sampled_from(values) for key, values in VALUES.items()}
SETTINGS = st.fixed_dictionaries({}, optional=KEYS)


def write(file: Path, values: dict[str, Any]) -> Path:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *parents, name = key.split(".")
        inner = nested
        for part in parents:
            inner = inner.setdefault(part, {})
        inner[name] = value
    file.parent.mkdir(exist_ok=True)
    with file.open("w") as stream:
        YAML().dump(nested, stream)
    return file


def project(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"models/{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    params = folder / "params.yaml"
    if not params.exists():
        params.write_text("project: {name: main}\ntune:\n  method: {name: lora, rank: 4}\n")
    return params


def refused(params: Path, model: str, *overrides: str) -> str:
    with pytest.raises(BadInput) as raised:
        load_settings(params, overrides, model)
    return str(raised.value)


@settings(deadline=None, max_examples=50)
@given(below=SETTINGS, above=SETTINGS, overrides=SETTINGS)
def test_a_models_file_is_the_project_with_its_keys_set(
    below: dict[str, Any], above: dict[str, Any], overrides: dict[str, Any]
) -> None:
    """Every key has the value of the topmost that names it: `--set`, the model, the project."""
    with tempfile.TemporaryDirectory() as folder:
        params = write(Path(folder) / "params.yaml", below)
        before = params.read_bytes()
        write(Path(folder) / "models/m.yaml", above)
        given_last = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
        found = load_settings(params, given_last, "m")
        assert params.read_bytes() == before
    own = {"watch.traffic": "data/m/traffic"} | above | overrides
    for key, value in ({**below, **own}).items():
        inner: Any = found
        for part in key.split("."):
            inner = getattr(inner, part)
        merged = key in ("sweep.space", "tune.source_weights")  # keys of their own: they merge
        if merged and key not in overrides:
            assert dict(inner) == {**dict(inner), **value}
        else:
            assert inner == value or list(inner) == list(value)
    assert found.project.name == found.project.model == "m"


def test_state_is_apart_and_that_of_the_default_model_does_not_move(tmp_path: Path) -> None:
    params = project(tmp_path, a="{}", b="project: {name: other}\nwatch: {traffic: logs}\n")
    main, a, b = (load_settings(params, (), name) for name in (None, "a", "b"))
    assert models(params) == ("a", "b")
    assert main.project.model_dir == main.project.state_dir
    assert len({found.project.model_dir for found in (main, a, b)}) == 3
    assert {found.project.state_dir for found in (main, a, b)} == {main.project.state_dir}
    assert [found.project.name for found in (main, a, b)] == ["main", "a", "other"]
    assert [found.watch.traffic for found in (main, a, b)] == [
        *("data/traffic", "data/a/traffic", "logs")
    ]
    assert [found.curate.feedback for found in (a, b)] == ["data/a/feedback", "data/b/feedback"]
    assert a.tune.source_weights == {"data/a/feedback": 0.5}
    copy = a.replace(tune=a.tune.replace(max_steps=3))
    assert copy.project.model_dir == a.project.model_dir


def test_another_method_leaves_the_settings_of_the_projects_method(tmp_path: Path) -> None:
    params = project(
        tmp_path,
        ia3="tune:\n  method: ia3\nsweep:\n  space:\n    tune.method.rank: null\n",
        wrong="tune:\n  method:\n    name: ia3\n    rank: 3\n",
    )
    found = load_settings(params, (), "ia3")
    assert found.tune.method.name == "ia3" and "tune.method.rank" not in found.sweep.space
    assert "models/wrong.yaml:4: tune.method.rank: ia3 does not use it" in refused(params, "wrong")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\ntune:\n  learning_rate: x\n", ":3: tune.learning_rate: given 'x'"),
        ("tune:\n  rnk: 1\n", ":2: tune.rnk: unknown key"),
        ("tune: [\n", ":2: not valid YAML"),
        ("tune: 3\n", ":1: tune: given 3"),
        ("- 1\n", ": expected sections"),
        ("project:\n  state_dir: x\n", ":2: project.state_dir holds for the whole project"),
        ("platform: {mlflow_port: 5001}\n", ":1: platform.mlflow_port holds for the whole"),
        ("project:\n  model: z\n", ":2: project.model holds for the whole project"),
        ("project:\n  name: MAIN\n", ":2: project.name: MAIN is the name of the model of"),
        ("project:\n  name: b\n", ":2: project.name: b is the name of the model of"),
    ],
)
def test_what_is_wrong_in_a_models_file_is_said_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    params = project(tmp_path, a=text, b="{}")
    said = refused(params, "a")
    assert said.startswith(f"{tmp_path / 'models/a.yaml'}{message}"), said
    assert load_settings(params).project.name == "main"


def test_what_is_wrong_in_params_yaml_is_said_there(tmp_path: Path) -> None:
    params = project(tmp_path, a="tune: {batch_size: 4}\n")
    params.write_text("tune:\n  batch_size: x\n  max_steps: y\n")
    assert refused(params, "a").startswith(f"{params}:3: tune.max_steps")
    assert refused(params, "a", "tune.max_steps=z").startswith("--set: tune.max_steps")


@pytest.mark.parametrize("name", ["", "../a", "a/b", "A", "b", ".a", "a\n", "x" * 101])
def test_there_is_no_such_model(tmp_path: Path, name: str) -> None:
    assert "--model" in refused(project(tmp_path, a="{}"), name)
    assert "there are a; without" in refused(project(tmp_path), "zebra")
    (tmp_path / "models/a.yaml").unlink()
    assert "there is none yet" in refused(project(tmp_path), "zebra")


def test_settings_that_were_written_are_read_as_the_same(tmp_path: Path) -> None:
    """`perpetune settings --model a --write FILE`: `--params FILE` is that model."""
    from tasks.settings.writing import write_params

    found = load_settings(project(tmp_path, a="{}"), (), "a")
    write_params(tmp_path / "written.yaml", found)
    assert load_settings(tmp_path / "written.yaml") == found
    assert Settings().project.model is None


def test_commands_in_sentences_are_for_the_model() -> None:
    said = "run `perpetune run`, then `perpetune approve 3 --by NAME`; see `perpetune up`"
    assert for_model(said, None) == said
    assert for_model(said, "m") == (
        "run `perpetune run --model m`, then `perpetune approve 3 --by NAME --model m`; "
        "see `perpetune up`"
    )
    assert for_model(for_model(said, "m"), "m") == for_model(said, "m")


def test_answered_windows_are_benchmarks_of_their_model_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = project(tmp_path, a="{}", own="evaluate: {benchmarks: [mine]}\n")
    before = load_settings(params, (), "a")
    assert before.watch.benchmarks == "data/a/benchmarks"
    assert before.evaluate.benchmarks == load_settings(params).evaluate.benchmarks
    (tmp_path / "data/a/benchmarks").mkdir(parents=True)
    (tmp_path / "data/own/benchmarks").mkdir(parents=True)
    after = load_settings(params, (), "a")
    assert after.evaluate.benchmarks == [*before.evaluate.benchmarks, "data/a/benchmarks"]
    assert after.curate.benchmarks == [*before.curate.benchmarks, "data/a/benchmarks"]
    assert load_settings(params).evaluate.benchmarks == before.evaluate.benchmarks
    own = load_settings(params, (), "own")
    assert (own.evaluate.benchmarks, own.watch.benchmarks) == (["mine"], None)
