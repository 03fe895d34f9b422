"""Trials on Ray, as Prefect tasks, give the bytes of trials in one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core import files
from tests.conftest import PROJECT
from tests.tasks.test_tune import write_data


@pytest.mark.slow
def test_a_sweep_on_ray_gives_the_bytes_of_one_process(tmp_path, make_settings):
    data = write_data(tmp_path / "curated")
    results, hashes = [], []
    for engine in ("native", "ray"):
        settings = make_settings(
            tune={"batch_size": 4, "max_steps": 2, "evaluations": 2},
            sweep={
                "space": {"tune.method.rank": [2, 4], "tune.learning_rate": [1e-3, 3e-2]},
                "adapters_per_pass": 1,
                "engine": engine,
            },
        )
        params, out = tmp_path / f"{engine}.yaml", tmp_path / engine
        files.write_json(params, settings.plain())
        where = ["--params", str(params), "--data", str(data), "--out", str(out)]
        done = subprocess.run(
            [sys.executable, "-m", "perpetune", "sweep", "--json", *where],
            env=os.environ | {"PYTHONPATH": str(PROJECT), "RAY_ADDRESS": "local"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        results.append([(t["params"], t["state"], t["validation_loss"]) for t in result["trials"]])
        hashes.append(files.file_hashes(Path(result["best"]["adapter"])))
    assert results[0] == results[1]
    assert hashes[0] == hashes[1]
