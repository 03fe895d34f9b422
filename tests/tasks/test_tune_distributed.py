"""Processes that share each batch train as one does, with the frozen weights on each or spread."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.settings import load_settings
from tasks.tune.train import TrialRun, train
from tasks.tune.train.distributed import Processes
from tasks.tune.train.executors import sequential_executor
from tasks.tune.train.finishing import finish
from tests.conftest import PROJECT
from tests.tasks.test_tune import QUICK, curve_of, write_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "curated")


@given(count=st.integers(1, 6), items=st.lists(st.integers(), min_size=1, max_size=20))
def test_everything_counts_once_and_all_have_equally_much_to_do(count, items):
    shares = [Processes(count, number).assign(items) for number in range(count)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(item for share in shares for item, counts in share if counts) == sorted(items)


@pytest.mark.parametrize("shard", [False, True], ids=["whole", "spread"])
def test_two_processes_train_as_one(data, tmp_path, make_settings, capfd, shard):
    found = []
    # Batches of three: packs come out even for nobody, and some steps leave one with nothing.
    for name, own in (("alone", {}), ("together", {"processes": 2, "shard": shard})):
        out = tmp_path / name
        metrics = train(data, out, make_settings(tune=QUICK | {"batch_size": 3} | own)).to_json()
        weights = load_file(out / "best" / "adapter_model.safetensors")
        found.append((metrics, curve_of(out), weights))
    (alone, expected, expected_weights), (together, curve, weights) = found
    assert together["validation_loss"] == pytest.approx(alone["validation_loss"], abs=1e-5)
    assert together["initial_validation_loss"] == pytest.approx(alone["initial_validation_loss"])
    for row, expected_row in zip(curve, expected, strict=True):
        assert row == pytest.approx(expected_row, abs=1e-5)
    assert weights.keys() == expected_weights.keys()
    for name, each in weights.items():
        torch.testing.assert_close(each, expected_weights[name], rtol=1e-3, atol=1e-4)
    assert (
        "each process holds about 50 % of the frozen weights" in capfd.readouterr().err
    ) == shard


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(data, tmp_path, make_settings):
    # With dropout: each process draws its own numbers, and draws them again.
    settings = make_settings(tune=QUICK | {"processes": 2, "dropout": 0.3})
    unbroken, stopped = tmp_path / "unbroken", tmp_path / "stopped"
    train(data, unbroken, settings)
    execute = sequential_executor(data)
    execute([TrialRun(stopped, settings)], 1)
    assert not (stopped / "metrics.json").exists()
    execute([TrialRun(stopped, settings)], None)
    finish(TrialRun(stopped, settings))
    assert curve_of(stopped) == curve_of(unbroken)
    weights = Path("best") / "adapter_model.safetensors"
    assert files.md5(stopped / weights) == files.md5(unbroken / weights)


def test_what_is_wrong_is_said_by_whoever_began_them(data, tmp_path, make_settings):
    settings = make_settings(tune=QUICK | {"processes": 2, "target_modules": ["nowhere"]})
    with pytest.raises(BadInput, match=r"tune\.method\.target_modules: .*nowhere"):
        train(data, tmp_path / "out", settings)


def test_nobody_outlives_who_began_them(data, tmp_path, make_settings):
    settings = make_settings(tune=QUICK | {"processes": 2, "max_steps": 10_000, "epochs": 1000})
    begun = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _TRAIN,
            str(data),
            str(tmp_path / "out"),
            settings.model_dump_json(),
        ],
        cwd=PROJECT,
        stderr=subprocess.PIPE,
    )
    assert begun.stderr is not None
    for line in begun.stderr:
        if b"training examples" in line:
            break
    children = psutil.Process(begun.pid).children(recursive=True)
    assert len(children) >= 3  # torchrun and two of ours
    os.kill(begun.pid, signal.SIGKILL)
    begun.stderr.close()
    begun.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


_TRAIN = """
import sys
from pathlib import Path
from tasks.settings import Settings
from tasks.tune.train import train
train(Path(sys.argv[1]), Path(sys.argv[2]), Settings.model_validate_json(sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["tune.shard=true"], "set processes above 1"),
        (["tune.shard=true", "tune.processes=2", "tune.method=full"], "which full lacks"),
    ],
)
def test_weights_that_cannot_be_spread_are_refused(given, said):
    with pytest.raises(BadInput, match=said):
        load_settings(PROJECT / "params.yaml", given)
