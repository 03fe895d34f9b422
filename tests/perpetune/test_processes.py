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
    account_variables,
    credential_file,
    new_credential,
    read_credential,
    write_credential,
)
from perpetune.platform.exposure import check_exposure
from perpetune.platform.processes import (
    Platform,
    describe,
    platform_file,
    recorded_platform,
    write_platform,
)
from tasks.core.errors import BadInput, PerpetuneError
from tasks.core.own_pages import OwnPagesOnly
from tasks.registry import database_uri
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


@pytest.mark.parametrize(
    ("host", "origin", "taken"),
    [
        ("mlflow.example", None, True),
        ("mlflow.example", "https://mlflow.example", True),
        ("mlflow.example", "http://mlflow.example", False),
        ("mlflow.example", "https://evil.example", False),
        ("mlflow.example:5000", None, False),
        ("evil.example", "https://evil.example", False),
        ("127.0.0.1:5000", None, True),
    ],
)
def test_behind_a_proxy_one_more_name_is_answered_to(
    host: str, origin: str | None, taken: bool
) -> None:
    import asyncio

    reached = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    async def send(message: Any) -> None:
        pass

    headers = [(b"host", host.encode())]
    headers += [] if origin is None else [(b"origin", origin.encode())]
    guarded = OwnPagesOnly(app, "https://mlflow.example/")
    asyncio.run(guarded({"type": "http", "headers": headers}, None, send))
    assert len(reached) == taken


TLS = {
    "prefect_address": "https://prefect.example",
    "mlflow_address": "https://mlflow.example",
    "accounts": True,
}


@pytest.mark.parametrize(
    ("values", "lacks"),
    [
        ({"host": "0.0.0.0"}, ["prefect_address", "mlflow_address", "accounts"]),
        ({"host": "0.0.0.0", "accounts": True}, ["prefect_address", "mlflow_address"]),
        (TLS | {"accounts": False}, ["platform.accounts: true"]),
        (TLS | {"mlflow_address": None}, ["mlflow_address"]),
        (TLS | {"mlflow_address": "http://mlflow.example"}, ["no address https"]),
        (TLS | {"mlflow_address": "https://mlflow.example/x"}, ["no address https"]),
        (TLS, []),
        (TLS | {"host": "0.0.0.0"}, []),
        ({}, []),
    ],
)
def test_other_machines_reach_the_platform_with_users_and_tls_only(
    values: dict[str, Any], lacks: list[str]
) -> None:
    sections = {"platform": values, "decisions": {"authentication": "required"}}
    settings = Settings.model_validate(sections)
    if not lacks:
        check_exposure(settings, local_mlflow=True)
        return
    with pytest.raises(BadInput) as refused:
        check_exposure(settings, local_mlflow=True)
    assert all(name in str(refused.value) for name in lacks)


def test_accounts_and_claimed_names_exclude_each_other() -> None:
    settings = Settings.model_validate({"platform": {"accounts": True}})
    with pytest.raises(BadInput, match="authentication: required"):
        check_exposure(settings, local_mlflow=True)


def test_the_platforms_account_stays_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    project = {"state_dir": str(tmp_path / "100% ü?")}
    settings = Settings.model_validate({"project": project})
    first = account_variables(settings)
    assert account_variables(settings) == first, "accounts outlive a restart of the platform"
    folder = tmp_path / "100% ü?/credentials"
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("mlflow*"))
    import configparser

    config = configparser.ConfigParser()
    config.read(first["MLFLOW_AUTH_CONFIG_PATH"], encoding="utf-8")
    assert config["mlflow"]["database_uri"] == database_uri(folder.resolve() / "accounts.db")
    (folder / "accounts.db").touch()
    (folder / "mlflow").unlink()
    with pytest.raises(PerpetuneError, match="restore it"):
        account_variables(settings)


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
