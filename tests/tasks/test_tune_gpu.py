"""On a GPU, training is what it is on a CPU, and equal input gives equal bytes there, too."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core import files
from tasks.settings import Settings
from tasks.tune.methods import METHODS
from tests.conftest import PROJECT
from tests.tasks.test_tune import QUICK, curve_of, write_data

pytestmark = pytest.mark.skipif(not shutil.which("nvidia-smi"), reason="there is no GPU here")

CALL = """
import json, sys
from pathlib import Path
import torch
from tasks.settings import Settings
from tasks.tune.sweep import sweep
from tasks.tune.train import train
work, device, data, out, settings = sys.argv[1:]
assert torch.cuda.is_available() == (device == "gpu"), device
{"train": train, "sweep": sweep}[work](
    Path(data), Path(out), Settings.model_validate(json.loads(settings))
)
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "curated")


def call(work: str, device: str, data: Path, out: Path, settings: Settings) -> None:
    """Train or sweep in a process of its own, which is where libraries read their variables."""
    gpus = os.environ["TESTED_GPUS"] if device == "gpu" else ""
    command = [sys.executable, "-c", CALL, work, device, str(data), str(out)]
    done = subprocess.run(
        [*command, json.dumps(settings.plain())],
        cwd=PROJECT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": gpus},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("method", METHODS)
def test_a_gpu_takes_the_steps_of_a_cpu(method, data, tmp_path, make_settings):
    # In NF4, libraries compute in another type on one than on the other.
    close = 2e-2 if METHODS[method].quantised else 2e-3
    rate = 1e-3 if method == "full" else QUICK["learning_rate"]
    tune = QUICK | {"method": method, "trained_modules": ["lm_head"], "learning_rate": rate}
    settings = make_settings(tune=tune)
    for device in ("gpu", "cpu"):
        call("train", device, data, tmp_path / device, settings)
    curves = [curve_of(tmp_path / device) for device in ("gpu", "cpu")]
    for here, there in zip(*curves, strict=True):
        assert here["train_loss"] == pytest.approx(there["train_loss"], rel=close)
    ends = [files.read_json(tmp_path / device / "metrics.json") for device in ("gpu", "cpu")]
    losses = [end["validation_loss"] for end in ends]
    assert losses[0] == pytest.approx(losses[1], rel=close)
    assert ends[0]["memory"]["measured_bytes"] > 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_equal_input_gives_equal_bytes(dtype, data, tmp_path, make_settings):
    # The second process finds what the first has kept, and so does less before it trains.
    settings = make_settings(tune=QUICK, base={"dtype": dtype})
    for name in ("one", "two"):
        call("train", "gpu", data, tmp_path / name, settings)
    assert curve_of(tmp_path / "one") == curve_of(tmp_path / "two")
    hashes = [files.file_hashes(tmp_path / name / "best") for name in ("one", "two")]
    assert hashes[0] == hashes[1]


def test_lanes_are_trials_alone(data, tmp_path, make_settings):
    found = {}
    for lanes in (1, 4):
        search = {"rank": [2, 4], "learning_rate": [1e-3, 1e-2], "prune": False, "packed": lanes}
        call(
            "sweep",
            "gpu",
            data,
            tmp_path / str(lanes),
            make_settings(tune=QUICK, sweep=search | {"sampler": "grid"}),
        )
        trials = files.read_json(tmp_path / str(lanes) / "sweep.json")["trials"]
        found[lanes] = [trial["validation_loss"] for trial in trials]
    assert found[4] == pytest.approx(found[1], rel=1e-3)
