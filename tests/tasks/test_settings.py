"""Settings: sections by owner, members of registries, old keys, `sweep.space`, explanation."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from tasks.core.errors import BadInput
from tasks.core.plugins import PluginRegistry
from tasks.settings import Settings, load_settings, read_settings
from tasks.settings.explanation import entries, explain
from tasks.settings.members import Composed
from tasks.settings.reference import reference
from tasks.settings.section import Section
from tasks.settings.writing import commented_yaml, write_params
from tasks.tune.methods import METHODS
from tasks.tune.methods.settings import LowRank
from tasks.tune.settings import METHOD, LogRange, Tune, configured
from tests.conftest import PROJECT

OLD = """
curate: {against: [b.jsonl], replay: [r.jsonl], replay_share: 0.2, min_tokens: 3, ngram: 9,
         personal_data: {email: drop}, near_duplicates: 0.9, protect_splits: null, test_share: 0.1}
tune: {method: qlora, rank: 4, alpha: r, virtual_tokens: 30, mix: {a: 0.1}, max_steps: 7}
sweep: {rank: [2, 4], alpha: [], method: [lora, prefix], packed: 2, seeds_top: 3}
judge: {max_examples: 20}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def refused(path: Path | None = None, *overrides: str) -> str:
    with pytest.raises(BadInput) as raised:
        read_settings(path or Path("params.yaml"), overrides)
    return str(raised.value)


# Old keys


def test_an_old_file_is_read_with_a_message_for_each_key(tmp_path: Path) -> None:
    settings, told = read_settings(written(tmp_path, OLD))
    curate, tune, sweep = settings.curate, settings.tune, settings.sweep
    assert curate.benchmarks == ["b.jsonl"] and curate.privacy.email == "drop"
    assert (curate.replay.inputs, curate.replay.share) == (["r.jsonl"], 0.2)
    assert curate.quality.plain()["min_tokens"] == 3 and curate.contamination.ngram == 9
    assert curate.duplicates.similarity == 0.9
    assert (curate.splits.max_overlap, curate.splits.test_share) == (None, 0.1)
    assert tune.method == LowRank(name="qlora", rank=4, alpha="r")
    assert tune.source_weights == {"a": 0.1} and tune.max_steps == 7
    assert sweep.space == {
        "tune.method.rank": [2, 4],
        # What only another method of the sweep has is set there.
        "tune.method": ["lora", {"name": "prefix", "virtual_tokens": 30}],
        "tune.learning_rate": [3e-4, 1e-3, 3e-3],
    }
    assert (sweep.adapters_per_pass, sweep.reseed_top) == (2, 3)
    assert settings.evaluate.max_examples == 20
    assert f"{tmp_path / 'params.yaml'}:2: curate.against is called curate.benchmarks now" in told
    assert any("tune.rank is called tune.method.rank now" in message for message in told)
    assert len(told) == len(set(told)) == 20


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("tune.rank=8", lambda s: s.tune.method.of(LowRank).rank == 8),
        ("tune.method=dora", lambda s: s.tune.method.name == "dora"),
        ("tune.method={name: ia3}", lambda s: s.tune.method.name == "ia3"),
        ("tune.mix={a: 0.3}", lambda s: s.tune.source_weights == {"a": 0.3}),
        ("tune.mix.a.jsonl=0.3", lambda s: s.tune.source_weights["a.jsonl"] == 0.3),
        ("curate.personal_data.email=keep", lambda s: s.curate.privacy.email == "keep"),
        ("curate.near_duplicates=null", lambda s: s.curate.duplicates.similarity is None),
        ("curate.replay=[a]", lambda s: s.curate.replay.inputs == ["a"]),
        ("judge.batch_size=2", lambda s: s.evaluate.batch_size == 2),
        ("sweep.rank=[2]", lambda s: s.sweep.space["tune.method.rank"] == [2]),
        ("sweep.rank=[]", lambda s: list(s.sweep.space) == ["tune.learning_rate"]),
        ("sweep.space.tune.weight_decay=[0.1]", lambda s: len(s.sweep.space) == 3),
    ],
)
@pytest.mark.parametrize("file", ["", commented_yaml(Settings())])
def test_old_and_new_keys_of_set(file: str, override: str, value: Any, tmp_path: Path) -> None:
    settings, _ = read_settings(written(tmp_path, file), [override])
    assert value(settings)


def test_old_and_new_keys_that_disagree_are_refused(tmp_path: Path) -> None:
    both = "curate:\n  against: [a]\n  benchmarks: [b]\n"
    message = refused(written(tmp_path, both))
    assert "params.yaml:2: curate.against (['a']) is called curate.benchmarks now" in message
    assert "remove curate.against" in message
    read_settings(written(tmp_path, both.replace("[b]", "[a]")))
    axes = "sweep: {rank: [1], space: {tune.method.rank: [2]}}"
    assert "sweep.rank" in refused(written(tmp_path, axes))
    twice = refused(None, "tune.rank=8", "tune.method.rank=4")
    assert "tune.rank is the same setting" in twice


def test_a_method_chosen_on_the_command_line_leaves_others_settings_out(tmp_path: Path) -> None:
    file = written(tmp_path, commented_yaml(Settings()))
    settings, told = read_settings(file, ["tune.method=bottleneck", "tune.dropout=0.1"])
    assert settings.tune.method.plain() == {
        "name": "bottleneck",
        "dropout": 0.1,
        "bottleneck_size": 64,
    }
    assert "tune.method: bottleneck does not use rank, alpha, target_modules: left out" in told
    message = refused(file, "tune.method.name=prefix", "tune.method.rank=4")
    assert "--set: tune.method.rank: prefix does not use it; prefix uses virtual_tokens" in message


# Members of registries


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tune.method.rnk=4", "lora does not use it; did you mean rank? lora uses rank, alpha,"),
        (
            "tune.method={name: full, rank: 4}",
            "full does not use it; full has no settings",
        ),
        (
            "tune.method=lroa",
            "tune.method.name: given 'lroa'; allowed: 'full', ",
        ),
        ("tune.method=3", "tune.method: given 3; allowed: keys with values"),
        ("curate.quality.min_token=4", "unknown key; did you mean min_tokens?"),
        ("curate.quality.min_tokens=-1", "curate.quality.min_tokens: given -1; allowed: a number"),
        ("curate.min_token=4", "unknown key; did you mean curate.quality.min_tokens?"),
    ],
)
def test_a_key_is_checked_by_the_member_that_has_it(override: str, message: str) -> None:
    assert message in refused(None, override)


class Length(Section):
    least: Annotated[int, Field(ge=0)] = 1
    """Fewest."""


class Words(Section):
    words: tuple[str, ...] = ("a",)
    """Any."""


class Member:
    def __init__(self, name: str, settings: type[Section]) -> None:
        self.name, self.settings = name, settings


FAMILY: PluginRegistry[Member] = PluginRegistry("family")
FAMILY.add(Member("length", Length))
FAMILY.add(Member("words", Words))
Composition = Composed(__name__, "Composition", "top.family", lambda: FAMILY)


class Top(Section):
    family: Annotated[Section, Composition] = Field(default_factory=Composition)


def test_a_composed_section_has_the_keys_of_every_member() -> None:
    top = Top.model_validate({"family": {"least": 2}})
    assert isinstance(top.family, Length) and isinstance(top.family, Words)
    assert top.plain() == {"family": {"least": 2, "words": ["a"]}}
    assert top.family.of(Length).replace(least=3).least == 3
    for value in (top, top.family):
        assert pickle.loads(pickle.dumps(value)) == value
    with pytest.raises(BadInput, match=r"top\.family\.least: given -1"):
        top.family.replace(least=-1)
    with pytest.raises(TypeError):
        top.family.of(LowRank)

    other = Member(
        "other", type("Other", (Section,), {"__annotations__": {"least": int}, "least": 1})
    )
    with pytest.raises(BadInput, match=r"top\.family\.least: a setting of length as of other"):
        Composed(__name__, "Composition", "top.family", lambda: [*FAMILY, other]).model()


PLUGIN = """
from pydantic import Field
from tasks.curate import FILTERS, Filter
from tasks.settings.section import Section
from tasks.tune.methods import METHODS, Method, MethodSettings

class Twist(MethodSettings):
    turns: int = 3

def attach(base, tune, steps): ...

METHODS.add(Method(name="twist", attaches=attach, settings=Twist, usual_rate=1e-3,
                   rates=(1e-4, 1e-2), source="none"))

class Links(Section):
    max_links: int = Field(3, ge=0)

@FILTERS.register
class TooManyLinks(Filter[Links]):
    name = "too_many_links"
    meaning = "The answer has too many links."
    settings = Links

    def check(self, record, settings, measured):
        return None
"""
USE = """
import pickle, sys
from pathlib import Path
from tasks.settings import load_settings, read_settings

if sys.argv[1] == "read":
    settings, _ = read_settings(Path("params.yaml"), ["tune.method=twist", "tune.method.turns=4"])
    assert settings.curate.quality.max_links == 2
    sys.stdout.buffer.write(settings.model_dump_json().encode() + b"\\n")
    for name in ("tune.method", "curate.quality", ""):
        value = settings
        for part in name.split(".") if name else []:
            value = getattr(value, part)
        sys.stdout.buffer.write(pickle.dumps(value))
else:
    import os
    os.chdir("/")  # a worker elsewhere
    from tasks.settings import Settings

    text = sys.stdin.buffer.readline()
    values = [pickle.load(sys.stdin.buffer) for _ in range(3)]
    values[2].replace(tune=values[2].tune.replace(max_steps=3))
    os.chdir(sys.argv[2])
    assert Settings.model_validate_json(text) == values[2]
    assert values[0].turns == 4 and values[1].max_links == 2
    assert values[2].tune.method == values[0] and values[2].curate.quality == values[1]
    assert type(values[0]).__name__ == "Twist"
"""


def test_settings_of_a_plugin_reach_another_process(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "use.py").write_text(USE)
    written(tmp_path, "project: {plugins: [mine.py]}\ncurate: {quality: {max_links: 2}}\n")
    told = b""
    for step in ("read", "restore"):
        done = subprocess.run(
            [sys.executable, str(tmp_path / "use.py"), step, str(tmp_path)],
            cwd=tmp_path,
            env={"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin"},
            input=told,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr.decode()
        told = done.stdout


# The space of a sweep


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{tune.method.rank: [0]}", "sweep.space.tune.method.rank: given 0; allowed: a number"),
        ("{tune.method.rnk: [4]}", "no method has this setting; methods have alpha, bottleneck"),
        ("{tune.lerning_rate: [1]}", "unknown key; did you mean tune.learning_rate?"),
        ("{curate.inputs: [a]}", "only keys of tune can be searched"),
        ("{tune.method.name: [lora]}", "write tune.method"),
        ("{tune.max_steps.x: [1]}", "tune.max_steps has no keys of its own"),
        ("{tune.method: [lroa]}", "tune.method.name: given 'lroa'; allowed: 'full'"),
        ("{tune.method: [3]}", "a list of methods' names"),
        ("{tune.learning_rate: [auto]}", "given 'auto'; allowed: numbers"),
        ("{tune.weight_decay: {log: [1.0e-3, 1.0e-1]}}", "the sampler grid needs a list of values"),
        ("{tune.weight_decay: {log: [0, 1]}}", "the lower end first, then the higher one, both ab"),
        ("{tune.weight_decay: {normal: [0, 1]}}", "a list of values, or {log: [low, high]}"),
        ("{tune.weight_decay: 0.1}", "a list of values, or {log: [low, high]}"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space: str, message: str) -> None:
    assert message in refused(None, f"sweep.space={space}")


def test_a_space_of_ranges_and_methods() -> None:
    space = (
        "{tune.method: [lora, {name: prefix, virtual_tokens: 30}], tune.method.rank: [4, 8],"
        " tune.learning_rate: {log: [1.0e-4, 1.0e-2]}, tune.warmup_share: {uniform: [0, 0.1]}}"
    )
    settings = load_settings(overrides=[f"sweep.space={space}", "sweep.sampler=tpe"])
    assert settings.sweep.space["tune.learning_rate"] == LogRange(log=(1e-4, 1e-2))
    assert Settings.model_validate(settings.plain()) == settings


def test_one_configuration_of_a_space() -> None:
    tune = Tune.model_validate({"method": {"name": "lora", "rank": 4, "dropout": 0.1}})
    other = configured(tune, {"tune.method.rank": 8, METHOD: "dora", "tune.max_steps": 3})
    assert other.method == LowRank(name="dora", rank=8, dropout=0.1) and other.max_steps == 3
    prefix = configured(
        tune, {METHOD: {"name": "prefix", "virtual_tokens": 9}, "tune.method.rank": 8}
    )
    assert prefix.method.plain() == {"name": "prefix", "virtual_tokens": 9}
    assert list(tune.short())[:3] == ["method", "rank", "alpha"] and tune.short()["rank"] == 4


# Explanation


def test_params_yaml_is_what_is_written_with_defaults(tmp_path: Path) -> None:
    assert (PROJECT / "params.yaml").read_text() == commented_yaml(Settings())
    path = tmp_path / "new.yaml"
    settings, _ = read_settings(written(tmp_path, OLD))
    write_params(path, settings)
    assert read_settings(path) == (settings, [])
    with pytest.raises(BadInput, match="--replace"):
        write_params(path, settings)
    write_params(path, settings, replace=True)


def test_the_reference_is_fresh() -> None:
    assert (PROJECT / "docs/reference/settings.md").read_text() == reference(), "make reference"


def test_every_key_is_described() -> None:
    found = list(entries())
    assert len(found) > 120
    for entry in found:
        assert entry.field.description or entry.section, entry.key
        assert entry.read_by and entry.allowed, entry.key
        assert explain(Settings(), entry.key)
    assert {entry.key for entry in found} >= {
        f"tune.method.{key}" for m in METHODS for key in m.uses
    }


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("tune.learnin_rate", "did you mean tune.learning_rate?"),
        ("rank", "did you mean tune.method.rank?"),
        ("curate.against", "is called curate.benchmarks now"),
        ("x", "sections: project, base"),
    ],
)
def test_a_key_that_there_is_not_has_no_explanation(key: str, message: str) -> None:
    with pytest.raises(BadInput) as raised:
        explain(Settings(), key)
    assert message in str(raised.value)


def test_an_explanation_says_whose_the_key_is() -> None:
    (tokens,) = explain(Settings(), "curate.quality.min_tokens")
    assert (tokens.default, tokens.unit, tokens.value) == (8, "tokens", 8)
    assert tokens.allowed == "a whole number of at least 0" and "curate" in tokens.read_by
    lora, ia3 = explain(Settings(), "tune.method.target_modules")
    assert lora.value == "all-linear" and ia3.members == ("ia3",) and ia3.value is None
    (space,) = explain(Settings(), "sweep.space.tune.method.rank")
    assert space.key == "sweep.space"


def test_the_share_of_labelled_traffic_follows_its_folder() -> None:
    def weights(*overrides: str) -> dict[str, float]:
        return read_settings(Path("params.yaml"), overrides)[0].tune.source_weights

    assert weights() == {"data/feedback": 0.5}
    assert weights("curate.feedback=data/labelled") == {"data/labelled": 0.5}
    own = "tune.source_weights={data/labelled: 0.2, data/feedback: 0.1}"
    assert weights("curate.feedback=data/labelled", own) == {
        "data/labelled": 0.2,
        "data/feedback": 0.1,
    }
