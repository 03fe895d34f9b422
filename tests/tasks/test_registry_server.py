"""The registry against an MLflow server over HTTP: the same main path as on a database."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core import files
from tasks.core.errors import Refused
from tasks.registry import Candidate, DatasetRef, Registry
from tasks.settings import Settings
from tasks.tune.sweep import Trial

DATA = DatasetRef("train", "train.jsonl", "0" * 32 + ".dir", "training")
TRIAL = Trial(number=0, params={"rank": 8}, state="pruned", steps=2, seconds=1.0)


@pytest.fixture(scope="module")
def server(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(mlflow_database, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


@pytest.mark.slow
def test_the_main_path_over_http(server: str, plain_adapter: Path, tmp_path: Path) -> None:
    project = {"name": "served.model", "state_dir": str(tmp_path / "state"), "tracking_uri": server}
    registry = Registry(Settings.model_validate({"project": project}))
    assert registry.status().champion is None
    files.write_jsonl(tmp_path / "curve.jsonl", ({"step": s, "loss": s} for s in range(1500)))
    (tmp_path / "reference.jsonl").write_text("{}\n")

    for number in (1, 2):
        key = f"k{number}"
        for _ in range(2):  # as if killed and run again
            run = registry.tracking.open_round(
                key, name=key, params={"a": {"b": 1}}, tags={}, datasets=[DATA]
            )
            trial = registry.tracking.log_trial(run, TRIAL, tmp_path, [DATA])
            artifacts = (tmp_path / "reference.jsonl", tmp_path / "curve.jsonl")
            candidate = Candidate(
                plain_adapter,
                True,
                {"passed": True},
                "# Card",
                artifacts,
                {"git": "abc"},
                {"loss": 2.0},
            )
            version = registry.register(run, key, candidate)
        assert (version.number, version.aliases) == (number, ("challenger",))
        assert registry.status().pending[0].metrics == {"loss": 2.0}
        registry.approve(number, "ann", comment="")
    with pytest.raises(Refused, match="champion already"):
        registry.approve(2, "bob")
    registry.rollback("bob", "<worse>")

    status = registry.status()
    assert (status.champion, status.previous, status.warnings) == (1, None, ())
    assert [decision.action for decision in registry.history()] == [
        "rollback",
        "approve",
        "approve",
    ]
    given = files.file_hashes(plain_adapter)
    assert files.file_hashes(registry.versions.adapter("models:/served.model@champion")) == given
    assert registry.versions.artifact(2, "reference.jsonl").read_text() == "{}\n"
    with registry._connection.client() as client:
        assert len(client.get_metric_history(trial, "curve/loss")) == 1500
        runs = client.search_runs([client.get_run(run).info.experiment_id])
        assert len(runs) == 4, "two rounds of one trial each, none twice"
    assert registry.links.version(2).startswith(f"{server}/#/models/served.model/versions/2?")

    script = (
        "import mlflow, sys\n"
        "model = mlflow.models.get_model_info('models:/served.model@champion')\n"
        "assert model.signature is not None\n"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"MLFLOW_TRACKING_URI": server},
        cwd=tmp_path,
        check=True,
    )
