"""MLflow's own webhook, registered by `notify.mlflow`, against a receiver on this machine."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.core.errors import BadInput, PerpetuneError
from tasks.registry import DATABASE_VARIABLE, register_webhook
from tasks.settings import Settings


@pytest.fixture(scope="module")
def server(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(mlflow_database, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tasks.registry.server", str(port)]
    environment = os.environ | {
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.urlsafe_b64encode(b"k" * 32).decode(),
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    environment[DATABASE_VARIABLE] = f"sqlite:///{folder / 'mlflow.db'}"
    command.append(str(folder / "artifacts"))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
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
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def settings(state: Path, server: str, **hook: str) -> Settings:
    project = {"name": "tiny", "state_dir": str(state), "tracking_uri": server}
    return Settings.model_validate({"project": project, "notify": {"mlflow": hook}})


def test_a_change_past_perpetune_is_told_with_a_signature(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[dict[str, str], bytes]] = []
    arrived = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append(({name.lower(): v for name, v in self.headers.items()}, body))
            self.send_response(200)
            self.end_headers()
            if b"champion" in body:
                arrived.set()

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("MLFLOW_HOOK_KEY", "a key")
    client = MlflowClient(server, server)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as receiver:
        threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True).start()
        hook = {"url": f"http://127.0.0.1:{receiver.server_port}/", "secret": "MLFLOW_HOOK_KEY"}
        wanted = settings(tmp_path, server, **hook)
        assert register_webhook(wanted) == register_webhook(wanted), "one, however often"
        client.create_webhook("a-stranger", "https://example.com", ["registered_model.created"])
        client.create_registered_model("tiny")
        client.create_model_version("tiny", "s3://nowhere/adapter")
        client.set_registered_model_alias("tiny", "champion", "1")
        assert arrived.wait(30)
        receiver.shutdown()
    headers, body = next(item for item in told if b"champion" in item[1])
    assert json.loads(body)["data"]["alias"] == "champion"
    signed = f"{headers['x-mlflow-delivery-id']}.{headers['x-mlflow-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"a key", signed, hashlib.sha256).digest()).decode()
    assert headers["x-mlflow-signature"] == f"v1,{expected}"

    assert register_webhook(settings(tmp_path, server)) is None
    assert [webhook.name for webhook in client.list_webhooks()] == ["a-stranger"]


def test_what_cannot_be_registered_is_said(server: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="NO_SUCH_VARIABLE is not set"):
        register_webhook(settings(tmp_path, server, url="http://a", secret="NO_SUCH_VARIABLE"))
    with pytest.raises(PerpetuneError, match=r"MLflow at http://127\.0\.0\.1:9 does not answer"):
        register_webhook(settings(tmp_path, "http://127.0.0.1:9", url="http://a"))
