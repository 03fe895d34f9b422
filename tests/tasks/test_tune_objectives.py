"""Objectives: a user's own, in a file beside params.yaml, is trained as Perpetune's own is."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model.encoding import Example
from tasks.settings import Settings, load_settings
from tasks.tune.data import batching
from tasks.tune.data.groups import Group
from tasks.tune.objectives import OBJECTIVES
from tasks.tune.sweep import sweep
from tasks.tune.train import train
from tasks.tune.train.distributed import SINGLE
from tasks.tune.train.execution import PACKED
from tasks.tune.train.pack_executor import PackExecutor, pack_executor
from tests.conftest import PROJECT
from tests.tasks.test_tune import curve_of

PLUGIN = '''
"""Two objectives of a user's own: the better of two answers is to be the likelier one."""

from dataclasses import replace

import torch

from tasks.tune.data.groups import Group
from tasks.tune.objectives import OBJECTIVES, Objective, ObjectiveSettings


class PairwiseSettings(ObjectiveSettings):
    """How sharply two answers are told apart."""

    beta: float = 0.1
    """Factor of the difference of log-probabilities."""


@OBJECTIVES.register
class Pairwise(Objective):
    name = "pairwise"
    learns_from = "preferences"
    settings = PairwiseSettings
    metric_names = ("accuracy", "margin")

    def refusal(self, record):
        if record.kind != "preference":
            return f"of kind {record.kind}"
        weighed = any(turn.learn is not None for turn in (*record.chosen, *record.rejected))
        return "with weights of their turns" if weighed else None

    def encode(self, record, encoder):
        answers = [
            replace(encoder.last_answer(chat), id=f"{record.id}/{name}")
            for name, chat in record.chats().items()
        ]
        return [Group(record.id, answers[0].source, tuple(answers))]

    def margins(self, scores):
        values = scores.log_probabilities()
        if self.needs_reference:
            values = values - scores.reference
        chosen, rejected = scores.pairs(values).unbind(-1)
        return self.options.beta * (chosen - rejected)

    def losses(self, scores):
        return -torch.nn.functional.logsigmoid(self.margins(scores))

    def metrics(self, scores):
        margins = self.margins(scores)
        return {"accuracy": (margins > 0).to(margins), "margin": margins}


@OBJECTIVES.register
class Direct(Pairwise):
    """Rafailov et al. 2023, https://arxiv.org/abs/2305.18290"""

    name = "direct"
    needs_reference = True
'''
NAMES = ("pairwise", "direct")
TUNE = {
    "method": {"name": "lora", "rank": 4},
    "learning_rate": 1e-2,
    "batch_size": 4,
    "max_steps": 6,
    "evaluations": 3,
    "micro_batch_tokens": 128,
}


def write_preferences(folder: Path) -> Path:
    for name, start, count in (("train", 0, 24), ("validation", 1000, 8)):
        rows = [
            {
                "id": f"box-{i}",
                "prompt": f"What colour has box {i}? Answer in one sentence, please.",
                "chosen": "The box is red.",
                "rejected": f"Boxes have no colour {'at all ' * (i % 3)}.",
            }
            for i in range(start, start + count)
        ]
        files.write_jsonl(folder / f"{name}.jsonl", rows)
    return folder


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's file; what it registers is forgotten afterwards."""
    path = tmp_path_factory.mktemp("user") / "my_objective.py"
    path.write_text(PLUGIN)
    yield path
    for name in NAMES:
        OBJECTIVES._members.pop(name, None)
    for module in [name for name in sys.modules if name.startswith("perpetune_plugin_")]:
        if Path(str(sys.modules[module].__file__)) == path:
            del sys.modules[module]


@pytest.fixture
def project(plugin: Path, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch):
    """Settings of a project whose params.yaml names the user's file."""
    monkeypatch.chdir(tmp_path)

    def make(name: str = "pairwise", **sections: dict) -> Settings:
        values = {
            "project": {"plugins": [str(plugin)], "state_dir": str(tmp_path / "state")},
            "base": {"model": str(tiny_base), "dtype": "float32"},
            "tune": TUNE | {"objective": {"name": name}},
        }
        for section, own in sections.items():
            values[section] = values.get(section, {}) | own
        files.write_json(tmp_path / "params.yaml", values)
        return load_settings(tmp_path / "params.yaml")

    return make


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    return write_preferences(tmp_path / "curated")


@pytest.mark.parametrize(
    ("name", "method"),
    [("pairwise", "lora"), ("pairwise", "prefix"), ("direct", "lora"), ("direct", "full")],
)
def test_the_loss_of_a_users_objective_falls(project, preferences, tmp_path, name, method):
    settings = project(name, tune=TUNE | {"method": method, "objective": {"name": name}})
    if method != "lora":
        rate = {"prefix": 1e-2, "full": 1e-3}[method]
        settings = settings.replace(tune=settings.tune.replace(learning_rate=rate))
    out = tmp_path / "out"
    train(preferences, out, settings)
    metrics = files.read_json(out / "metrics.json")
    assert metrics["validation_loss"] < metrics["initial_validation_loss"]
    if name == "direct":  # before training, neither answer is preferred
        assert metrics["initial_validation_loss"] == pytest.approx(math.log(2), abs=1e-5)
    evaluated = [row for row in curve_of(out) if "validation_loss" in row]
    margins = [row["validation_metrics"]["margin"] for row in evaluated]
    assert margins[-1] > margins[0]
    assert all(0 <= row["validation_metrics"]["accuracy"] <= 1 for row in evaluated)
    rows = files.read_jsonl(out / "validation.jsonl")
    assert len(rows) == 8
    assert {row["targets"] for row in rows} == {1}
    mean = sum(row["loss"] for row in rows) / 8
    assert mean == pytest.approx(metrics["validation_loss"])


def test_the_settings_of_an_objective_are_its_own(project):
    assert project().tune.objective.beta == 0.1
    with pytest.raises(BadInput, match=r"tune\.objective.*beta"):
        project("supervised", tune=TUNE | {"objective": {"name": "supervised", "beta": 1.0}})


def test_trials_of_a_sweep_share_passes(project, preferences, tmp_path):
    space = {"tune.method.rank": [2, 4], "tune.learning_rate": [1e-2]}
    results = {}
    for lanes in (1, 2):
        search = {"space": space, "trials": 2, "prune": False, "adapters_per_pass": lanes}
        settings = project("direct", sweep=search)
        sweep(preferences, tmp_path / str(lanes), settings)
        trials = files.read_json(tmp_path / str(lanes) / "sweep.json")["trials"]
        results[lanes] = [trial["validation_loss"] for trial in trials]
    assert results[2] == pytest.approx(results[1], abs=1e-5)


KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.settings import load_settings
from tasks.tune.train import train
from tasks.tune.train.run import Run

take_step = Run.take_step

def take_step_or_die(run, *given):
    if run.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    take_step(run, *given)

Run.take_step = take_step_or_die
train(Path(sys.argv[1]), Path(sys.argv[2]), load_settings(Path("params.yaml")))
"""


def test_a_killed_run_goes_on_to_the_same_bytes(project, preferences, tmp_path):
    settings = project("direct", tune=TUNE | {"objective": "direct", "checkpoint_minutes": 1e-6})
    train(preferences, tmp_path / "unbroken", settings)
    command = [sys.executable, "-c", KILLED, str(preferences), str(tmp_path / "out")]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert (tmp_path / "out" / "checkpoint").is_dir()
    train(preferences, tmp_path / "out", settings)
    assert curve_of(tmp_path / "out") == curve_of(tmp_path / "unbroken")
    hashes = [files.file_hashes(tmp_path / name / "best") for name in ("out", "unbroken")]
    assert hashes[0] == hashes[1]


def test_a_run_of_several_processes_knows_the_users_objective(project, preferences, tmp_path):
    losses = []
    for processes in (1, 2):
        tune = TUNE | {"objective": {"name": "direct"}, "processes": processes}
        out = tmp_path / str(processes)
        train(preferences, out, project("direct", tune=tune))
        losses.append(files.read_json(out / "metrics.json")["validation_loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_a_run_of_an_edited_objective_starts_over(project, plugin, preferences):
    from tasks.tune.train import trainer

    settings = project()
    prepared = trainer.prepare(preferences, settings)
    before = trainer.checkpoint_key(prepared, settings)
    plugin.write_text(PLUGIN + "# another loss\n")
    try:
        assert trainer.checkpoint_key(prepared, settings) != before
    finally:
        plugin.write_text(PLUGIN)


def test_records_that_an_objective_does_not_use_are_refused(project, preferences, tmp_path):
    row = {"prompt": "What?", "completion": "That."}
    lines = (preferences / "train.jsonl").read_text()
    (preferences / "train.jsonl").write_text(lines + f"{row}\n".replace("'", '"'))
    with pytest.raises(BadInput, match=r"train\.jsonl:25: 1 of kind chat among 25 records; pairw"):
        train(preferences, tmp_path / "out", project())
    weighed = {
        "prompt": [{"role": "user", "content": "What?"}],
        "chosen": [{"role": "assistant", "content": "That."}],
        "rejected": [{"role": "assistant", "content": "This.", "weight": 0}],
    }
    files.write_jsonl(preferences / "train.jsonl", [weighed])
    with pytest.raises(BadInput, match=r"train\.jsonl:1: 1 with weights of their turns among 1"):
        train(preferences, tmp_path / "out", project())


# Groups


def example(name: str, length: int, begin: int = 0) -> Example:
    ids = (*range(10, 10 + begin), *((hash(name) % 1000) + 100 + i for i in range(length)))
    return Example(name, "x", ids, (False,) + (True,) * (len(ids) - 1))


@hypothesis_settings(max_examples=80, deadline=None)
@given(
    lengths=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=1, max_size=15),
    tokens=st.integers(20, 150),
    begin=st.sampled_from([0, 12]),
    shared=st.booleans(),
    padded=st.booleans(),
)
def test_a_group_is_never_cut(lengths, tokens, begin, shared, padded):
    groups = [
        Group(f"g{i}", "x", tuple(example(f"{i}-{j}", n, begin) for j, n in enumerate(own)))
        for i, own in enumerate(lengths)
    ]
    cut = batching.rows(groups, tokens) if padded else batching.packs(groups, tokens, shared=shared)
    assert sorted(group.id for pack in cut for group in pack) == sorted(g.id for g in groups)
    for pack in cut:
        if padded:
            count = sum(len(group.examples) for group in pack)
            size = count * max(group.longest for group in pack)
        else:
            size = batching.pack_length(pack, shared=shared)
            laid = PACKED.lay(pack, torch.device("cpu"), shared=shared)
            assert laid.input_ids.shape[1] <= size + 7  # filled up to a multiple of 8
            assert [x for g in laid.groups for x in (e.id for e in g.examples)] == [*laid.ids]
        assert pack
        assert size <= tokens or len(pack) == 1


# Threads


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_no_thread_keeps_a_graph_in_an_evaluation(mode):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    layer = torch.nn.Linear(4, 4)
    try:
        with pack_executor(layer) as packs:
            assert packs._pool is not None
            with mode():
                outputs = [*packs.map(layer, [torch.ones(4)] * 6)]
            assert not any(output.requires_grad for output in outputs)
            assert all(output.requires_grad for output in packs.map(layer, [torch.ones(4)] * 6))
    finally:
        torch.set_num_threads(threads)
    alone = PackExecutor(None, 1, SINGLE, PACKED, random=False, threads=1)
    with mode():
        assert not any(output.requires_grad for output in alone.map(layer, [torch.ones(4)]))
