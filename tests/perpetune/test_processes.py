"""Whether the platform runs: decided by what its processes are, not by their ids."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from perpetune.platform.credential import (
    credential_file,
    new_credential,
    read_credential,
    write_credential,
)
from perpetune.platform.processes import (
    Platform,
    describe,
    platform_file,
    recorded_platform,
    write_platform,
)
from tasks.core.own_pages import OwnPagesOnly
from tasks.settings import Settings


@pytest.fixture
def stranger() -> Iterator[psutil.Process]:
    """A process that has nothing to do with us."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    yield psutil.Process(child.pid)
    child.kill()
    child.wait()


def perpetune(folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "perpetune", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"said": done.stderr}


def record(folder: Path, process: dict[str, Any]) -> Path:
    path = folder / ".perpetune/platform.json"
    path.parent.mkdir(exist_ok=True)
    plain = {
        "prefect_url": "http://127.0.0.1:4200",
        "prefect_api_url": "http://127.0.0.1:4200/api",
        "mlflow_url": "http://127.0.0.1:5000",
        "processes": dict.fromkeys(("prefect", "mlflow", "worker"), process),
    }
    path.write_text(json.dumps(plain))
    return path


@pytest.mark.parametrize("identity", ["none", "another command", "another start"])
def test_down_spares_a_stranger_that_has_a_recorded_process_id(
    tmp_path: Path, stranger: psutil.Process, identity: str
) -> None:
    started = stranger.create_time() - psutil.boot_time()
    same = stranger.cmdline()
    process = {"pid": stranger.pid, "log": "x.log"} | {
        "none": {},  # as written before processes had more than an id
        "another command": {"started": started, "command": ["prefect", "server", "start"]},
        "another start": {"started": started - 3600, "command": same},
    }[identity]
    path = record(tmp_path, process)
    status = perpetune(tmp_path, "status")
    assert status["champion"] is None, "the local database, not a server that is gone"
    assert status["platform"] is None or status["platform"]["running"] == []
    down = perpetune(tmp_path, "down")
    assert down["stopped"] == []
    assert down["gone"] == ([] if identity == "none" else ["prefect", "mlflow", "worker"])
    assert "process" in down["said"], "it says what it did"
    assert not path.exists()
    assert stranger.is_running()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"processes": 3}', "\x00", '{"processes": []}']
)
def test_a_damaged_record_is_no_platform(settings: Settings, content: str) -> None:
    path = settings.project.state_dir / "platform.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert recorded_platform(settings) is None


def test_a_platform_runs_as_long_as_both_servers_do(
    settings: Settings, stranger: psutil.Process, tmp_path: Path
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    process = describe(stranger.pid, tmp_path / "x.log")
    worker = describe(child.pid, tmp_path / "y.log")
    processes = {"prefect": process, "mlflow": process, "worker": worker}
    platform = Platform("http://127.0.0.1:4200", "http://127.0.0.1:5000", processes)
    write_platform(platform_file(settings), platform)
    assert recorded_platform(settings) == platform
    assert platform.serving() == {"prefect", "mlflow"}
    child.kill()
    child.wait()
    assert platform.serving() == {"prefect", "mlflow"}
    assert list(platform.alive()) == ["prefect", "mlflow"]
    stranger.kill()
    stranger.wait()
    assert platform.serving() == set()


def test_the_credential_is_new_each_time_and_readable_by_its_owner_only(
    settings: Settings,
) -> None:
    assert read_credential(settings) is None
    first, second = new_credential(), new_credential()
    assert first != second
    for credential in (first, second):
        write_credential(settings, credential)
        assert read_credential(settings) == credential
    path = credential_file(settings)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert (path.parent / ".gitignore").read_text() == "*\n"
    assert sorted(file.name for file in path.parent.iterdir()) == [".gitignore", "prefect"]


@pytest.mark.parametrize(
    ("host", "origin", "taken"),
    [
        ("127.0.0.1:5000", None, True),
        ("localhost:5000", None, True),
        ("[::1]:5000", None, True),
        ("127.0.0.1:5000", "http://127.0.0.1:5000", True),
        ("localhost:6000", "http://localhost:6000", True),  # a forwarded port
        ("127.0.0.1:5000", "http://127.0.0.1:8888", False),
        ("127.0.0.1:5000", "http://localhost:5000", False),
        ("127.0.0.1:5000", "http://evil.example", False),
        ("127.0.0.1:5000", "null", False),
        ("127.0.0.1:5000", "", False),
        ("evil.example:5000", "http://evil.example:5000", False),
        ("evil.example", None, False),
        ("", None, False),
        ("[", None, False),
    ],
)
def test_mlflow_answers_its_own_pages_and_programs_only(
    host: str, origin: str | None, taken: bool
) -> None:
    import asyncio

    reached, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", host.encode())]
    headers += [] if origin is None else [(b"origin", origin.encode())]
    for kind in ("http", "websocket"):
        scope = {"type": kind, "headers": headers}
        asyncio.run(OwnPagesOnly(app)(scope, None, send))
    assert len(reached) == (2 if taken else 0)
    assert [message.get("status") for message in sent] == ([] if taken else [403, None, None])


def test_the_server_of_a_single_command_is_closed_as_well(
    tmp_path: Path, prefect_home: Path
) -> None:
    code = """
import json, os, sys
from perpetune.platform import environment
from tasks.core.own_pages import OwnPagesOnly
from tasks.settings import Settings
environment.prepare(Settings())
import httpx
from prefect import get_client
with get_client(sync_client=True) as client:
    api = str(client.api_url).rstrip("/")
    with_credential = len(client.read_flow_runs(limit=1)) <= 1
token = {"Prefect-Csrf-Client": "x", "Prefect-Csrf-Token": "y"}
print(json.dumps([
    with_credential,
    httpx.post(f"{api}/flow_runs/filter", json={}).status_code,
    httpx.post(f"{api}/flow_runs/filter", json={}, headers=token).status_code,
    httpx.get(f"{api}/admin/settings").status_code,
    httpx.get(f"{api}/health", headers={"Origin": "http://a.example"}).headers.get(
        "access-control-allow-origin"),
]))
"""
    environment = os.environ | {"PREFECT_HOME": str(prefect_home)}
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, 403, 403, 401, None]
