"""What every check of `perpetune doctor` does, and the fault that each is there for."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from perpetune.platform import environment
from perpetune.platform.checks import CHECKS, Check
from perpetune.platform.doctor import diagnose
from perpetune.platform.results import Advice
from tasks.core.locks import exclusive
from tasks.decisions import Problem
from tasks.settings import Settings
from tests.platform import free_port

ALL = list(CHECKS)
LOCKS = Path("/proc/locks")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of an empty project, in the current folder, with ports that are free."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in (*environment.PROXIES, *environment.NO_PROXY):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environment, "_given", {})
    (tmp_path / ".perpetune").mkdir()
    ports = {"prefect_port": free_port(), "mlflow_port": free_port()}
    return Settings.model_validate({"project": {"name": "tiny"}, "platform": ports})


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.name)
def test_a_check_finds_nothing_wrong_in_an_empty_project_and_writes_nothing(
    check: Check, settings: Settings, tmp_path: Path
) -> None:
    assert check.name
    assert check.label
    assert [other.name for other in ALL].count(check.name) == 1
    before = listing(tmp_path)
    found = check.examine(settings)
    assert [item for item in found if not isinstance(item, Advice)] == []
    assert list(check.fix(settings)) == []
    assert listing(tmp_path) == before


def examined(name: str, settings: Settings) -> list[Problem]:
    (check,) = (check for check in ALL if check.name == name)
    return list(check.examine(settings))


def locked_version(_: Settings, patch: pytest.MonkeyPatch) -> None:
    Path("requirements.lock").write_text("# x\nprefect[redis]==0.1 ; x\nnot-installed==1\n")


def little_space(_: Settings, patch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage("/")
    patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**8))


def broken_record(settings: Settings, _: pytest.MonkeyPatch) -> None:
    (settings.project.state_dir / "platform.json").write_text("{")


def remote_that_is_away(_: Settings, patch: pytest.MonkeyPatch) -> None:
    Path(".dvc").mkdir()
    address = f"http://u:hidden@127.0.0.1:{free_port()}/x"
    text = f"[core]\n    remote = there\n['remote \"there\"']\n    url = {address}\n"
    Path(".dvc/config").write_text(text)


def remote_folder_that_is_gone(_: Settings, patch: pytest.MonkeyPatch) -> None:
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text(
        "[core]\n    remote = disk\n['remote \"disk\"']\n    url = ../gone\n"
    )


def no_remote(_: Settings, patch: pytest.MonkeyPatch) -> None:
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    analytics = false\n")


def narrow_encoding(_: Settings, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys, "getfilesystemencoding", lambda: "ascii")


def proxy(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    patch.setenv("PREFECT_HOME", str(settings.project.state_dir))
    environment._reach_this_machine_directly()


@pytest.mark.parametrize(
    ("name", "plant", "words", "remedy"),
    [
        ("versions", locked_version, "1 installed packages .*prefect .*locked: 0.1", "make setup"),
        ("disk", little_space, "0.1 GB are free", "housekeeping"),
        ("platform", broken_record, "cannot be read", "perpetune down"),
        ("dvc", remote_that_is_away, r"'there' cannot be reached at http://u:\*\*\*@", "dvc"),
        ("dvc", remote_folder_that_is_gone, "'disk' cannot be reached at ../gone", "dvc"),
        ("dvc", no_remote, "on this machine only", "dvc push"),
        ("environment", narrow_encoding, "not as UTF-8", "PYTHONUTF8=1"),
        ("environment", proxy, "HTTPS_PROXY is set", "no_proxy=127.0.0.1,localhost"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_planted_fault_is_found_with_its_remedy(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    plant: Callable[[Settings, pytest.MonkeyPatch], None],
    words: str,
    remedy: str,
) -> None:
    import re

    plant(settings, monkeypatch)
    found = examined(name, settings)
    assert re.search(words, found[0].what), found
    assert remedy in found[0].remedy


def test_a_port_that_somebody_else_has_is_named_with_a_free_one(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.platform.mlflow_port)):
        (found,) = examined("ports", settings)
    assert f"platform.mlflow_port: {settings.platform.mlflow_port} is taken by" in found.what
    assert "perpetune up --set platform.mlflow_port=" in found.remedy


@pytest.mark.skipif(not LOCKS.exists(), reason="only Linux tells who holds a lock")
def test_a_lock_is_advice_as_long_as_a_process_holds_it(settings: Settings) -> None:
    path = settings.project.state_dir / "round.lock"
    with exclusive(path, AssertionError()):
        assert examined("locks", settings) == [], "our own"
    code = (
        "import sys; from pathlib import Path; from tasks.core.locks import exclusive\n"
        f"with exclusive(Path({str(path)!r}), AssertionError()):\n"
        "    print(flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    child.stdout.readline()
    (found,) = examined("locks", settings)
    assert f"round.lock is held by process {child.pid}" in found.what
    child.communicate()
    assert path.exists()
    assert examined("locks", settings) == [], "a file that nobody holds is no lock"


def test_advice_makes_nobody_ill(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    locked_version(settings, monkeypatch)
    found = diagnose(settings)
    assert found.healthy
    (versions,) = (check for check in found.checks if check.name == "versions")
    assert (len(versions.advice), versions.problems) == (1, ())
    broken_record(settings, monkeypatch)
    assert not diagnose(settings).healthy


def test_a_proxy_is_never_asked_for_this_machine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", os.environ | {"HTTP_PROXY": "http://p.example:1"})
    os.environ["NO_PROXY"] = "corp.example, localhost"
    environment._reach_this_machine_directly()
    for name in ("no_proxy", "NO_PROXY"):
        assert os.environ[name] == "corp.example,localhost,127.0.0.1,::1"


@pytest.mark.parametrize("name", ["what? & a#b", "100% ü"])
def test_prefects_database_stays_inside_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from sqlalchemy import create_engine

    home = tmp_path / name
    home.mkdir()
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop("PREFECT_SERVER_DATABASE_CONNECTION_URL", None)
    environment._keep_prefects_database_in(home)
    address = os.environ.get(
        "PREFECT_SERVER_DATABASE_CONNECTION_URL", f"sqlite+aiosqlite:///{home}/prefect.db"
    )
    with create_engine(address.replace("+aiosqlite", "+pysqlite")).connect():
        assert [path.name for path in home.iterdir()] == ["prefect.db"]
