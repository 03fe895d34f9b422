"""A sweep finds the best of its trials, stops weak ones, and outlives its process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tasks import files
from tasks.errors import BadInput, PerpetuneError
from tasks.settings import load_settings
from tasks.tune import sweep
from tests.conftest import PROJECT
from tests.tasks.test_tune import write_data

TUNE = {"batch_size": 4, "max_steps": 4, "evaluations": 4, "patience": 4}
GRID = {"rank": [2, 4], "learning_rate": [1e-4, 1e-3, 3e-2]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("curated"))


def outcome(result: dict) -> list[dict]:
    """The trials without what differs from run to run."""
    return [
        {key: value for key, value in trial.items() if key != "seconds"}
        for trial in result["trials"]
    ]


def test_a_sweep_keeps_the_best_and_stops_the_weak(data, tmp_path, make_settings, tiny_base):
    settings = make_settings(tune=TUNE, sweep=GRID)
    out, seen = tmp_path / "out", []
    result = sweep(data, out, settings, on_trial=lambda trial, folder: seen.append((trial, folder)))
    assert files.read_json(out / "sweep.json") == result
    trials = result["trials"]
    assert [trial for trial, _ in seen] == trials
    assert [trial["number"] for trial in trials] == list(range(6))
    tried = {(trial["params"]["rank"], trial["params"]["learning_rate"]) for trial in trials}
    assert tried == {(rank, rate) for rank in GRID["rank"] for rate in GRID["learning_rate"]}

    complete = [trial for trial in trials if trial["state"] == "complete"]
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    assert complete
    assert pruned
    assert len(complete) + len(pruned) == 6
    assert all(trial["steps"] == 4 for trial in complete)
    assert all(trial["steps"] < 4 for trial in pruned)
    for trial, folder in seen:
        metrics = files.read_json(folder / "metrics.json")
        assert metrics["state"] == trial["state"]
        assert metrics["validation_loss"] == trial["validation_loss"]
        assert metrics["tokens_trained"] == trial["tokens"]
        assert trial["params"].items() <= metrics["params"].items()
        assert trial["params"]["alpha"] == 2 * trial["params"]["rank"]

    best = result["best"]
    assert best["params"]["learning_rate"] == 3e-2  # the others hardly move
    assert best["validation_loss"] == min(trial["validation_loss"] for trial in complete)
    assert best["validation_loss"] < result["initial_validation_loss"]
    winner = out / "trials" / str(best["number"]) / "best"
    assert files.file_hashes(Path(best["adapter"])) == files.file_hashes(winner)
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), best["adapter"])
    for name in ("curves.png", "heatmap.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert result["tokens_trained"] == sum(trial["tokens"] for trial in trials)
    assert result["seconds"] >= sum(trial["seconds"] for trial in trials)


def test_trials_in_one_process_equal_trials_alone(data, tmp_path, make_settings):
    from tasks.tune import train

    settings = make_settings(tune=TUNE, sweep=GRID | {"trials": 2, "prune": False})
    result = sweep(data, tmp_path / "out", settings)
    second = result["trials"][1]
    alone = make_settings(tune=TUNE | second["params"])
    assert train(data, tmp_path / "alone", alone)["validation_loss"] == second["validation_loss"]
    folder = tmp_path / "out" / "trials" / "1" / "best"
    assert files.file_hashes(tmp_path / "alone" / "best") == files.file_hashes(folder)


def test_a_finished_sweep_is_returned_at_once(data, tmp_path, make_settings, monkeypatch):
    from tasks.tune import training

    settings = make_settings(tune=TUNE, sweep=GRID | {"trials": 2})
    first = sweep(data, tmp_path / "out", settings)
    with monkeypatch.context() as patch:
        patch.delattr(training, "prepare")
        seen = []
        again = sweep(data, tmp_path / "out", settings, on_trial=lambda *given: seen.append(given))
        assert again == first
        assert [trial for trial, _ in seen] == first["trials"]
        # What the sweep varies anyway does not make it another sweep.
        same = make_settings(tune=TUNE | {"rank": 9}, sweep=GRID | {"trials": 2})
        assert sweep(data, tmp_path / "out", same) == first
    other = make_settings(tune=TUNE, sweep=GRID | {"trials": 1})
    assert len(sweep(data, tmp_path / "out", other)["trials"]) == 1


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_a_resumed_sweep_proposes_what_an_unbroken_one_does(data, tmp_path, make_settings, sampler):
    search = GRID | {"sampler": sampler, "trials": 3}
    settings = make_settings(tune=TUNE | {"max_steps": 2}, sweep=search)
    unbroken = sweep(data, tmp_path / "unbroken", settings)
    assert len({str(trial["params"]) for trial in unbroken["trials"]}) == 3

    def interrupt(trial: dict, _: Path) -> None:
        if trial["number"] == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        sweep(data, tmp_path / "broken", settings, on_trial=interrupt)
    assert not (tmp_path / "broken" / "sweep.json").exists()
    numbers = []
    resumed = sweep(
        data,
        tmp_path / "broken",
        settings,
        on_trial=lambda trial, _: numbers.append(trial["number"]),
    )
    assert outcome(resumed) == outcome(unbroken)
    assert numbers == [0, 1, 2]


# Killed within its third trial, at the first evaluation.
KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.settings import load_settings
from tasks.tune import loop, sweep

data, out, params = map(Path, sys.argv[1:])
finished = []
evaluate = loop.validation_loss

def evaluate_or_die(*args):
    loss = evaluate(*args)
    if len(finished) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return loss

loop.validation_loss = evaluate_or_die
sweep(data, out, load_settings(params), on_trial=lambda trial, _: finished.append(trial))
"""


def test_a_killed_sweep_goes_on_without_repeating_a_trial(data, tmp_path, make_settings):
    params = tmp_path / "params.yaml"
    files.write_json(params, make_settings(tune=TUNE, sweep=GRID | {"trials": 4}).plain())
    settings = load_settings(params)
    unbroken = sweep(data, tmp_path / "unbroken", settings)

    out = tmp_path / "broken"
    command = [sys.executable, "-c", KILLED, str(data), str(out), str(params)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    killed = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (out / "sweep.json").exists()
    finished = [path.parent.name for path in out.glob("trials/*/metrics.json")]
    assert sorted(finished) == ["0", "1"]
    written = {n: (out / "trials" / n / "metrics.json").stat().st_mtime_ns for n in finished}

    resumed = sweep(data, out, settings)
    assert outcome(resumed) == outcome(unbroken)
    for n in finished:
        assert (out / "trials" / n / "metrics.json").stat().st_mtime_ns == written[n]
    assert files.file_hashes(out / "best") == files.file_hashes(tmp_path / "unbroken" / "best")


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
    from tasks.tune import loop

    evaluate, calls = loop.validation_loss, iter(range(100))
    monkeypatch.setattr(
        loop, "validation_loss", lambda *a: float("nan") if next(calls) == 1 else evaluate(*a)
    )
    settings = make_settings(tune=TUNE, sweep=GRID | {"trials": 2})
    result = sweep(data, tmp_path / "out", settings)
    assert [trial["state"] for trial in result["trials"]] == ["failed", "complete"]
    assert result["trials"][0]["validation_loss"] is None
    assert result["trials"][0]["steps"] == 1
    assert result["best"]["number"] == 1

    monkeypatch.setattr(loop, "validation_loss", lambda *a: float("nan"))
    with pytest.raises(PerpetuneError, match="all 2 trials failed"):
        sweep(data, tmp_path / "other", settings)


def test_two_processes_do_not_run_one_sweep(data, tmp_path, make_settings):
    settings = make_settings(tune=TUNE | {"max_steps": 1}, sweep=GRID | {"trials": 1})

    def again(*_: object) -> None:
        with pytest.raises(PerpetuneError, match="another process"):
            sweep(data, tmp_path / "out", settings)

    sweep(data, tmp_path / "out", settings, on_trial=again)


def test_missing_data_is_named(tmp_path, make_settings):
    with pytest.raises(BadInput, match=r"train\.jsonl: no such file"):
        sweep(tmp_path, tmp_path / "out", make_settings())


def test_a_search_without_bounds_is_refused(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("sweep: {sampler: tpe, learning_rate: [0.001]}\n")
    with pytest.raises(BadInput, match="two learning rates"):
        load_settings(params)
