"""A sweep finds the best of its trials, stops weak ones, and outlives its process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.model import base_source
from tasks.rendering import plots
from tasks.settings import load_settings
from tasks.tune.sweep import SweepResult, Trial, sweep
from tasks.tune.sweep.halving import promoted, rungs
from tasks.tune.sweep.plots import draw_heatmap
from tasks.tune.sweep.proposals import grid
from tasks.tune.sweep.selection import assess
from tasks.tune.sweep.sentences import selection_sentence
from tasks.tune.train.finishing import finish
from tasks.tune.train.local_executor import fastest_lanes
from tasks.tune.train.trials import TrialRun
from tests.conftest import PROJECT
from tests.tasks.test_tune import write_data

TUNE = {"batch_size": 4, "max_steps": 4, "evaluations": 4, "patience": 4}
GRID = {"rank": [2, 4], "learning_rate": [1e-4, 1e-3, 3e-2], "reduction_factor": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("curated"))


def outcome(result: SweepResult) -> list[dict]:
    """The trials without what differs from run to run."""
    return [trial.model_dump(exclude={"seconds", "memory"}) for trial in result.trials]


def test_a_sweep_keeps_the_best_and_stops_the_weak(data, tmp_path, make_settings, tiny_base):
    settings = make_settings(tune=TUNE, sweep=GRID)
    out, seen = tmp_path / "out", []
    result = sweep(data, out, settings, on_trial=lambda trial, folder: seen.append((trial, folder)))
    assert files.read_json(out / "sweep.json") == result.to_json()
    assert SweepResult.from_json(result.to_json()) == result
    trials = result.trials
    assert sorted((trial for trial, _ in seen), key=lambda trial: trial.number) == [*trials]
    assert [trial.number for trial in trials] == list(range(6))
    tried = {(trial.params["rank"], trial.params["learning_rate"]) for trial in trials}
    assert tried == {(rank, rate) for rank in GRID["rank"] for rate in GRID["learning_rate"]}

    complete = [trial for trial in trials if trial.state == "complete"]
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert complete
    assert pruned
    assert len(complete) + len(pruned) == 6
    assert all(trial.steps == 4 for trial in complete)
    assert all(trial.steps < 4 for trial in pruned)
    for trial, folder in seen:
        metrics = files.read_json(folder / "metrics.json")
        assert metrics["state"] == trial.state
        assert metrics["validation_loss"] == trial.validation_loss
        assert metrics["tokens_trained"] == trial.tokens
        assert trial.params.items() <= metrics["params"].items()
        assert trial.memory.predicted_bytes > 0
        assert trial.memory.measured_bytes > 0
        assert len(files.read_jsonl(folder / "curve.jsonl")) == trial.steps
        assert trial.params["alpha"] == 2 * trial.params["rank"]

    best = result.best
    assert best.params["learning_rate"] == 3e-2  # the others hardly move
    assert best.validation_loss == min(trial.validation_loss for trial in complete)
    assert best.validation_loss < result.initial_validation_loss
    winner = out / "trials" / str(best.number) / "best"
    assert files.file_hashes(best.adapter) == files.file_hashes(winner)
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), str(best.adapter))
    for name in ("curves.png", "heatmap.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert result.tokens_trained == sum(trial.tokens for trial in trials)
    assert result.seconds >= sum(trial.seconds for trial in trials)
    # One of two goes on past each rung: all six, then three, then one of those.
    assert sorted(trial.steps for trial in trials) == [1, 1, 1, 2, 2, 4]
    assert sorted(trial.rung for trial in trials) == [1, 1, 1, 2, 2, 2]
    assert not [*out.rglob("checkpoint")]


def test_trials_in_one_process_equal_trials_alone(data, tmp_path, make_settings):
    from tasks.tune.train import train

    search = GRID | {"trials": 2, "prune": False, "packed": 1}
    result = sweep(data, tmp_path / "out", make_settings(tune=TUNE, sweep=search))
    second = result.trials[1]
    alone = make_settings(tune=TUNE | second.params)
    assert train(data, tmp_path / "alone", alone).validation_loss == second.validation_loss
    folder = tmp_path / "out" / "trials" / "1" / "best"
    assert files.file_hashes(tmp_path / "alone" / "best") == files.file_hashes(folder)


def test_the_weights_of_the_base_are_hashed_once(data, tmp_path, make_settings, monkeypatch):
    asked, identity = [], base_source.identity
    monkeypatch.setattr(base_source, "identity", lambda s: (asked.append(1), identity(s))[1])
    sweep(data, tmp_path / "out", make_settings(tune=TUNE, sweep=GRID | {"sampler": "grid"}))
    assert len(asked) == 2  # for the sweep, and for the base that all its trials share


def test_a_finished_sweep_is_returned_at_once(data, tmp_path, make_settings, monkeypatch):
    from tasks.tune.train import trainer

    settings = make_settings(tune=TUNE, sweep=GRID | {"trials": 2})
    first = sweep(data, tmp_path / "out", settings)
    with monkeypatch.context() as patch:
        patch.delattr(trainer, "prepare")
        seen = []
        again = sweep(data, tmp_path / "out", settings, on_trial=lambda *given: seen.append(given))
        assert again == first
        assert [trial for trial, _ in seen] == [*first.trials]
        # What the sweep varies anyway does not make it another sweep.
        same = make_settings(tune=TUNE | {"rank": 9}, sweep=GRID | {"trials": 2})
        assert sweep(data, tmp_path / "out", same) == first
    other = make_settings(tune=TUNE, sweep=GRID | {"trials": 1})
    assert len(sweep(data, tmp_path / "out", other).trials) == 1


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_a_resumed_sweep_proposes_what_an_unbroken_one_does(data, tmp_path, make_settings, sampler):
    search = GRID | {"sampler": sampler, "trials": 5, "cohort": 2, "packed": 1}
    settings = make_settings(tune=TUNE | {"max_steps": 2}, sweep=search)
    unbroken = sweep(data, tmp_path / "unbroken", settings)
    assert len({str(trial.params) for trial in unbroken.trials}) == 5

    def interrupt(trial: Trial, _: Path) -> None:
        if trial.number == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        sweep(data, tmp_path / "broken", settings, on_trial=interrupt)
    assert not (tmp_path / "broken" / "sweep.json").exists()
    numbers = []
    resumed = sweep(
        data,
        tmp_path / "broken",
        settings,
        on_trial=lambda trial, _: numbers.append(trial.number),
    )
    assert outcome(resumed) == outcome(unbroken)
    assert sorted(numbers) == [0, 1, 2, 3, 4]


# Killed after so many steps of all trials together.
KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.settings import load_settings
from tasks.tune.sweep import sweep

data, out, params, steps = *map(Path, sys.argv[1:4]), int(sys.argv[4])
taken = []

def die(trials):
    taken.append(trials)
    if len(taken) == steps:
        os.kill(os.getpid(), signal.SIGKILL)

sweep(data, out, load_settings(params), on_progress=die)
"""


@pytest.mark.parametrize(("steps", "ended"), [(3, []), (8, ["0", "1"])])
def test_a_killed_sweep_goes_on_without_repeating_anything(
    data, tmp_path, make_settings, steps, ended
):
    params = tmp_path / "params.yaml"
    search = GRID | {"trials": 4, "packed": 2}
    tune = TUNE | {"checkpoint_minutes": 1e-6}
    files.write_json(params, make_settings(tune=tune, sweep=search).plain())
    settings = load_settings(params)
    unbroken = sweep(data, tmp_path / "unbroken", settings)

    out = tmp_path / "broken"
    command = [sys.executable, "-c", KILLED, *map(str, (data, out, params, steps))]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    killed = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (out / "sweep.json").exists()
    finished = sorted(path.parent.name for path in out.glob("trials/*/metrics.json"))
    assert len(finished) == len(ended)
    written = {n: (out / "trials" / n / "metrics.json").stat().st_mtime_ns for n in finished}

    taken = []

    def watch(trials: list[Trial]) -> None:
        taken.append(sum(trial.steps for trial in trials))

    resumed = sweep(data, out, settings, on_progress=watch)
    assert outcome(resumed) == outcome(unbroken)
    for n in finished:
        assert (out / "trials" / n / "metrics.json").stat().st_mtime_ns == written[n]
    assert files.file_hashes(out / "best") == files.file_hashes(tmp_path / "unbroken" / "best")
    assert min(taken) >= steps - 2  # a step of two lanes may be lost, no more


def test_a_sweep_whose_folders_are_gone_starts_over(data, tmp_path, make_settings):
    settings = make_settings(tune=TUNE | {"max_steps": 1}, sweep=GRID | {"trials": 2})
    first = sweep(data, tmp_path / "out", settings)
    (tmp_path / "out" / "sweep.json").unlink()
    (tmp_path / "out" / "trials" / "0" / "metrics.json").unlink()
    assert outcome(sweep(data, tmp_path / "out", settings)) == outcome(first)
    assert (tmp_path / "out" / "trials" / "0" / "metrics.json").exists()


def test_a_diverged_trial_is_failed_and_the_others_go_on(
    data, tmp_path, make_settings, monkeypatch
):
    from tasks.tune.train import trainer

    evaluate = trainer.evaluate

    def first_lane_diverges(network, task, lanes, *rest, **options):
        measured = evaluate(network, task, lanes, *rest, **options)
        if lanes == 2:
            measured[0].losses[:] = float("nan")
        return measured

    monkeypatch.setattr(trainer, "evaluate", first_lane_diverges)
    settings = make_settings(tune=TUNE, sweep=GRID | {"trials": 2, "packed": 2})
    result = sweep(data, tmp_path / "out", settings)
    assert [trial.state for trial in result.trials] == ["failed", "complete"]
    assert result.trials[0].validation_loss is None
    assert result.trials[0].steps == 1
    assert result.best.number == 1
    assert result.trials[1].steps == 4

    def all_diverge(*given, **options):
        measured = evaluate(*given, **options)
        if options:  # the base alone is evaluated without the adapter's inputs
            for evaluation in measured:
                evaluation.losses[:] = float("nan")
        return measured

    monkeypatch.setattr(trainer, "evaluate", all_diverge)
    with pytest.raises(PerpetuneError, match="all 2 trials failed"):
        sweep(data, tmp_path / "other", settings)


def test_two_processes_do_not_run_one_sweep(data, tmp_path, make_settings):
    settings = make_settings(tune=TUNE | {"max_steps": 1}, sweep=GRID | {"trials": 1})

    def again(*_: object) -> None:
        with pytest.raises(PerpetuneError, match="another process"):
            sweep(data, tmp_path / "out", settings)

    sweep(data, tmp_path / "out", settings, on_trial=again)


# Lanes


@pytest.mark.parametrize(
    ("method", "base"),
    [
        ("lora", {"dtype": "float32"}),
        ("lora", {"dtype": "bfloat16"}),
        ("lora", {"dtype": "float32", "quantisation": "nf4"}),
        ("qlora", {"dtype": "float32"}),
        ("qlora", {"dtype": "bfloat16"}),
    ],
    ids=lambda given: given if isinstance(given, str) else "-".join(given.values()),
)
def test_a_lane_trains_as_it_would_alone(data, tmp_path, make_settings, method, base):
    """Losses and final weights, for different ranks, rates and targets in one pass."""
    from tasks.tune.train import trainer

    configurations = [
        {"rank": 2, "learning_rate": 1e-3},
        {"rank": 8, "learning_rate": 3e-2, "alpha": "r"},
        {"rank": 4, "learning_rate": 1e-2, "target_modules": "qv"},
    ]
    tune = TUNE | {"method": method}
    settings = [make_settings(tune=tune | each, base=base) for each in configurations]
    prepared = trainer.prepare(data, settings[0])
    together = [TrialRun(tmp_path / f"lane{n}", each) for n, each in enumerate(settings)]
    trainer.train_runs(prepared, together)
    # Equal bit for bit on the CPU this was measured on; another may sum products of more rows in
    # another order.
    exact = base["dtype"] == "float32"
    within = 1e-5 if exact else 2e-2
    for number, (job, each) in enumerate(zip(together, settings, strict=True)):
        alone = TrialRun(tmp_path / f"alone{number}", each)
        trainer.train_runs(prepared, [alone])
        found = [finish(which) for which in (job, alone)]
        assert found[0].steps == found[1].steps == 4
        curves = [files.read_jsonl(which.out / "curve.jsonl") for which in (job, alone)]
        for mine, its in zip(*curves, strict=True):
            assert mine["train_loss"] == pytest.approx(its["train_loss"], abs=within)
            assert mine["validation_loss"] == pytest.approx(its["validation_loss"], abs=within)
        weights = [
            load_file(which.out / "best" / "adapter_model.safetensors") for which in (job, alone)
        ]
        assert weights[0].keys() == weights[1].keys()
        for name, tensor in weights[1].items():
            if exact:
                torch.testing.assert_close(weights[0][name], tensor, rtol=1e-4, atol=1e-5)


def test_packed_and_unpacked_sweeps_agree(data, tmp_path, make_settings):
    results = []
    for packed in (1, 3):
        search = GRID | {"packed": packed}
        results.append(sweep(data, tmp_path / str(packed), make_settings(tune=TUNE, sweep=search)))
    one, three = (result.trials for result in results)
    for mine, its in zip(one, three, strict=True):
        assert mine.steps == its.steps
        assert mine.state == its.state
        assert mine.validation_loss == pytest.approx(its.validation_loss, abs=1e-5)


def pretending(monkeypatch, seconds: Callable[[int, int], float]) -> list[int]:
    """Let passes take `seconds` by their lanes and examples; returns the lanes as they come."""
    from tasks.tune.train import trainer

    counted = []

    def pretend(runs, batch, *_):
        counted.append(len(runs))
        time.sleep(seconds(len(runs), len(batch)))

    monkeypatch.setattr(trainer, "backward", pretend)
    return counted


@pytest.mark.parametrize(
    ("seconds", "tried", "best"),
    [
        # Idle with one lane and with two: four of them take longer than two times two.
        (lambda lanes, examples: {1: 0.02, 2: 0.02, 4: 0.2}[lanes], {1, 2, 4}, 2),
        # Busy: half the examples in half the time.
        (lambda lanes, examples: 0.01 * lanes * examples, {1}, 1),
    ],
    ids=["idle", "busy"],
)
def test_lanes_are_as_many_as_a_measurement_finds_fastest(
    data, tmp_path, make_settings, monkeypatch, seconds, tried, best
):
    from tasks.tune.train import trainer

    settings = make_settings(tune=TUNE, sweep=GRID)
    prepared = trainer.prepare(data, settings)
    runs = [TrialRun(tmp_path / str(n), settings) for n in range(5)]
    counted = pretending(monkeypatch, seconds)
    assert fastest_lanes(prepared, runs) == best
    assert set(counted) == tried


def test_the_number_of_lanes_is_kept(data, tmp_path, make_settings):
    sweep(data, tmp_path / "out", make_settings(tune=TUNE, sweep=GRID))
    assert files.read_json(tmp_path / "out" / "lanes.json")["lora"] >= 1


# Elsewhere


def test_workers_give_the_bytes_of_one_process(data, tmp_path, make_settings):
    hashes = []
    for workers in (1, 2):
        search = GRID | {"trials": 3, "packed": 1, "workers": workers}
        result = sweep(data, tmp_path / str(workers), make_settings(tune=TUNE, sweep=search))
        hashes.append((outcome(result), files.file_hashes(tmp_path / str(workers) / "best")))
    assert hashes[0] == hashes[1]


# Choosing


def test_other_seeds_of_the_best_are_trained_when_asked_for(data, tmp_path, make_settings):
    search = GRID | {"trials": 3, "seeds": 2, "seeds_top": 1}
    settings = make_settings(tune=TUNE | {"max_steps": 2}, sweep=search)
    result = sweep(data, tmp_path / "out", settings)
    (spread,) = result.seeds
    assert spread.number == result.best.number
    assert spread.validation_losses[0] == result.best.validation_loss
    assert len(set(spread.validation_losses)) == 3
    assert spread.standard_deviation > 0
    assert len(result.trials) == 3


def test_the_selection_bias_among_equal_trials_is_stated():
    generator = np.random.default_rng(0)
    targets = generator.integers(5, 30, 40).astype(float)
    # Twelve trials of one true loss, whose losses on these examples differ by chance alone.
    noise = {n: targets * generator.normal(2.0, 0.3, (1, 40)) for n in range(12)}
    best = min(noise, key=lambda n: noise[n].sum())
    found = assess(noise, targets, best, seed=0)
    loss = noise[best].sum() / targets.sum()
    assert found.optimism > 0.02
    assert abs(found.corrected_loss - 2.0) < abs(loss - 2.0)
    assert found.standard_error == pytest.approx(0.3 / 40**0.5, rel=0.4)
    assert f"makes it about {found.optimism:.2f} too low" in selection_sentence(found, loss)
    clear = assess(noise | {99: targets[None] * 0.5}, targets, 99, seed=0)
    assert clear.optimism < 0.001
    assert "less than 0.01 too low" in selection_sentence(clear, 0.5)


def test_the_best_of_a_trials_evaluations_is_a_choice_too():
    generator = np.random.default_rng(0)
    targets = np.full(40, 10.0)
    many = {0: 10 * generator.normal(2.0, 0.3, (12, 40)), 1: targets[None] * 2.0}
    found = assess(many, targets, 0, seed=0)
    assert found.choices == 13
    assert found.optimism > 0.02


@pytest.mark.parametrize("count", [1, 2, 5, 9, 10, 12])
def test_few_validation_examples_are_enough_or_the_figure_says_why_not(count):
    generator = np.random.default_rng(0)
    losses = {n: generator.uniform(5, 30, (3, count)) for n in range(4)}
    for seed in range(5):
        found = assess(losses, np.full(count, 10.0), 0, seed=seed)
        assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()
        assert (found.optimism is None) == (count < 10)
        assert (found.standard_error is None) == (count == 1)
        assert (found.reason is None) == (count >= 10)
        said = selection_sentence(found, 2.0)
        assert "nan" not in said
        assert (f"{count} validation examples are too few" in said) == (count < 10)


def measured(losses: Sequence[float]) -> dict[int, np.ndarray]:
    """Trials of these mean losses on twenty examples, of which some are hard for all trials."""
    hard = np.random.default_rng(0).normal(0, 1, 20)
    return {number: loss + hard for number, loss in enumerate(losses)}


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    losses=st.lists(st.floats(0, 10), min_size=1, max_size=20),
    earlier=st.lists(st.floats(0, 10), max_size=20),
    factor=st.integers(2, 5),
)
def test_the_best_at_a_rung_go_on_and_never_all_unless_equal(losses, earlier, factor):
    every = measured([*losses, *earlier])
    candidates = {n: every.pop(n) for n in range(len(losses))}
    on = promoted(candidates, [*every.values()], np.ones(20), factor)
    allowed = max(1, (len(losses) + len(earlier)) // factor)
    worst = max((losses[number] for number in on), default=-1)
    assert all(losses[number] >= worst - 1e-9 for number in candidates.keys() - on)
    assert sum(loss < worst - 1e-6 for loss in [*losses, *earlier]) < allowed
    if min(losses) <= min([*losses, *earlier]):
        assert on


def test_who_cannot_be_told_from_the_last_of_the_best_goes_on_too():
    ones, trials = np.ones(20), measured([1.0, 1.05, 2.0, 2.0])
    assert promoted(trials, [], ones, 4) == {0}
    # The difference of .05 varies by ± .3 from example to example: its standard error is .07.
    trials[1] += np.tile([0.3, -0.3], 10)
    assert promoted(trials, [], ones, 4) == {0, 1}
    assert promoted({1: trials[1], 2: trials[2]}, [trials[0]], ones, 4) == {1}
    one = {number: np.array([loss]) for number, loss in enumerate([1.0, 1.05, 2.0])}
    assert promoted(one, [], np.ones(1), 3) == {0}


def test_rungs_are_powers_of_the_factor_before_the_last_evaluation():
    assert rungs(4, 2) == [1, 2]
    assert rungs(9, 3) == [1, 3]
    assert rungs(1, 2) == []


def test_what_else_is_varied_stands_in_each_trial(data, tmp_path, make_settings):
    search = {
        "rank": [2], "learning_rate": [1e-3], "alpha": ["r", 7.0],
        "target_modules": ["qv", ["up_proj"]], "packed": 2,
    }  # fmt: skip
    settings = make_settings(tune=TUNE | {"max_steps": 1}, sweep=search)
    trials = sweep(data, tmp_path / "out", settings).trials
    tried = {(t.params["alpha"], str(t.params["target_modules"])) for t in trials}
    assert tried == {(a, m) for a in (2, 7) for m in ("qv", "['up_proj']")}


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_settings_that_a_method_does_not_use_give_no_further_trials(
    data, tmp_path, make_settings, sampler
):
    search = {
        "sampler": sampler, "trials": 12, "method": ["lora", "feature_extraction", "bottleneck"],
        "rank": [2, 4], "alpha": ["r", 4.0], "dropout": [0.0, 0.1], "learning_rate": [1e-4, 1e-3],
    }  # fmt: skip
    used = {
        "lora": {"rank", "alpha", "dropout"},
        "feature_extraction": set(),
        "bottleneck": {"dropout"},
    }
    tune = TUNE | {"max_steps": 1, "batch_size": 1, "validation_examples": 1, "evaluations": 1}
    settings = make_settings(tune=tune, sweep=search | {"cohort": 6, "prune": False, "packed": 1})
    result = sweep(data, tmp_path / "out", settings)
    trials = [trial.params for trial in result.trials]
    assert len({str(each) for each in trials}) == 12
    assert len({each["method"] for each in trials}) > 1
    for each in trials:
        assert {name for name, value in each.items() if value is not None} == (
            {"method", "learning_rate"} | used[each["method"]]
        )
    for name in ("curves.png", "heatmap.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_a_grid_holds_each_configuration_once(make_settings):
    search = {
        "method": ["lora", "full", "bottleneck", "ia3"], "rank": [2, 4], "alpha": ["r", 4.0],
        "dropout": [0.0, 0.1], "learning_rate": [1e-4, 1e-3],
    }  # fmt: skip
    configurations = grid(make_settings(sweep=search))
    found = Counter(params.get("method") for params in configurations)
    # Ranks and alphas of LoRA: (2, 2), (2, 4), (4, 4); the last by two rules.
    assert found == {"lora": 2 * 2 * 3, "full": 2, "bottleneck": 2 * 2, "ia3": 2}
    assert configurations == grid(make_settings(sweep=search))
    other = grid(make_settings(sweep=search, project={"seed": 1}))
    assert configurations != other
    assert sorted(map(str, configurations)) == sorted(map(str, other))


def test_other_seeds_of_a_method_without_a_rank(data, tmp_path, make_settings):
    search = {
        "method": ["feature_extraction"], "rank": [2, 4], "learning_rate": [1e-3], "seeds": 1,
    }  # fmt: skip
    settings = make_settings(tune=TUNE | {"max_steps": 1}, sweep=search)
    result = sweep(data, tmp_path / "out", settings)
    assert len(result.trials) == 1
    assert len(result.seeds[0].validation_losses) == 2


# Pictures


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The figures of given trials, each numbered in order, the first one best."""
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, _: figures.append(figure))

    def draw(params: list[dict]) -> list:
        trials = [
            Trial(number=n, params=values, state="complete", validation_loss=2 + n / 100)
            for n, values in enumerate(params)
        ]
        draw_heatmap(trials, 0, 3.0, tmp_path / "heatmap.png")
        return [axes for axes in figures[-1].axes if axes.get_visible()][:-1]  # colours

    return draw


def cells(axes) -> dict[tuple[float, float], str]:
    return {text.get_position(): text.get_text() for text in axes.texts}


def test_the_heatmap_has_one_panel_for_ranks_and_rates(drawn):
    (panel,) = drawn(
        [
            {"rank": rank, "learning_rate": rate, "alpha": 2 * rank}
            for rank in (2, 4)
            for rate in (1e-3, 1e-2)
        ]
    )
    assert panel.get_title(loc="left") == ""
    assert cells(panel) == {(0, 0): "2.000", (1, 0): "2.010", (0, 1): "2.020", (1, 1): "2.030"}


def test_the_heatmap_has_a_panel_for_each_combination_of_what_else_is_varied(drawn):
    lora = [
        {"method": "lora", "rank": rank, "learning_rate": 1e-3, "alpha": alpha, "dropout": dropout}
        for rank in (2, 4)
        for alpha in (rank, 2 * rank)
        for dropout in (0.0, 0.1)
    ]
    full = {"method": "full", "rank": None, "alpha": None, "dropout": None, "learning_rate": 1e-3}
    panels = drawn([*lora, full])
    assert {panel.get_title(loc="left"): len(cells(panel)) for panel in panels} == {
        "lora, dropout 0, alpha r": 2,
        "lora, dropout 0.1, alpha r": 2,
        "lora, dropout 0, alpha 2r": 2,
        "lora, dropout 0.1, alpha 2r": 2,
        "full": 1,
    }
    shades = [patch.get_facecolor() for panel in panels for patch in panel.patches]
    assert len(set(shades)) == 9  # one scale for all
    assert sum(patch.get_linewidth() > 0 for panel in panels for patch in panel.patches) == 1


def test_missing_data_is_named(tmp_path, make_settings):
    with pytest.raises(BadInput, match=r"train\.jsonl: no such file"):
        sweep(tmp_path, tmp_path / "out", make_settings())


def test_a_search_without_bounds_is_refused(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("sweep: {sampler: tpe, learning_rate: [0.001]}\n")
    with pytest.raises(BadInput, match="two learning rates"):
        load_settings(params)
