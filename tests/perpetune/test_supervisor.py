"""Processes of the platform are started again, are found whoever started them, and all end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from perpetune.platform import ports
from perpetune.platform.launching import Launch, answers, stop
from perpetune.platform.mlflow_place import mlflow_place
from perpetune.platform.processes import (
    MARKER,
    Platform,
    describe,
    marked,
    platform_file,
    recorded_platform,
    write_platform,
)
from perpetune.platform.servers import down
from perpetune.platform.state import in_words, platform_state
from perpetune.platform.supervisor import Supervisor, to_lines
from tasks.core.errors import BadInput, Refused
from tasks.core.locks import exclusive
from tasks.settings import Settings
from tests.platform import free_port, wait_for

SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
END = (sys.executable, "-S", "-c", "")


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of an empty project."""
    state = tmp_path / "state"
    state.mkdir()
    return Settings.model_validate({"project": {"name": "tiny", "state_dir": str(state)}})


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is started here is marked as the platform's, and ends with the test."""
    monkeypatch.setenv(MARKER, str(settings.project.state_dir.absolute()))
    yield
    monkeypatch.delenv(MARKER)
    stop(list(marked(settings.project.state_dir)), seconds=5)


def platform_of(settings: Settings, **commands: tuple[str, ...]) -> dict[str, Launch]:
    """Start these, and record them with this process as their supervisor."""
    folder = settings.project.state_dir / "logs"
    launches = {name: Launch(name, it, folder / f"{name}.log") for name, it in commands.items()}
    processes = {
        name: describe(launch.start().pid, launch.log) for name, launch in launches.items()
    }
    me = describe(os.getpid(), folder / "supervisor.log")
    write_platform(
        platform_file(settings), Platform("http://127.0.0.1:1", "http://127.0.0.1:2", processes, me)
    )
    return launches


def pid_of(settings: Settings, name: str) -> int:
    platform = recorded_platform(settings)
    assert platform is not None
    return platform.processes[name].pid


@pytest.mark.usefixtures("environment")
def test_a_process_that_ends_is_started_again_with_longer_and_longer_pauses(
    settings: Settings,
) -> None:
    launches = platform_of(settings, prefect=SLEEP, worker=SLEEP)
    clock = Clock()
    supervisor = Supervisor(platform_file(settings), list(launches.values()), os.getpid(), clock)
    first = pid_of(settings, "worker")
    assert supervisor.look()
    assert pid_of(settings, "worker") == first, "what runs is left alone, whoever started it"
    pauses = []
    for _ in range(4):
        before = pid_of(settings, "worker")
        psutil.Process(before).kill()
        wait_for(lambda pid=before: pid not in psutil.pids() or _is_zombie(pid), seconds=20)
        ended = clock.now
        while pid_of(settings, "worker") == before:
            assert supervisor.look()
            clock.now += 0.5
        pauses.append(clock.now - ended)
    assert pauses == sorted(pauses)
    assert pauses[-1] > 3 * pauses[0]
    platform = recorded_platform(settings)
    assert platform is not None
    assert platform.restarts == {"worker": 4}
    assert "prefect" in platform.alive()
    clock.now += 1000
    supervisor.look()
    psutil.Process(pid_of(settings, "worker")).kill()
    wait_for(lambda: "worker" not in recorded_platform(settings).alive(), seconds=20)
    ended, before = clock.now, pid_of(settings, "worker")
    while pid_of(settings, "worker") == before:
        supervisor.look()
        clock.now += 0.5
    assert clock.now - ended == pauses[0], "after a long steady run the pauses begin anew"
    platform_file(settings).unlink()
    assert not supervisor.look(), "without a record there is nothing to look after"


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.usefixtures("environment")
def test_a_server_that_is_silent_for_minutes_is_ended(settings: Settings) -> None:
    launches = platform_of(settings, mlflow=SLEEP)
    silent = Launch("mlflow", SLEEP, launches["mlflow"].log, f"http://127.0.0.1:{free_port()}/")
    clock = Clock()
    supervisor = Supervisor(platform_file(settings), [silent], os.getpid(), clock)
    before = pid_of(settings, "mlflow")
    clock.now = 60
    supervisor.look()
    assert recorded_platform(settings).alive(), "a minute of silence is no hang"
    clock.now = 400
    supervisor.look()
    wait_for(lambda: not recorded_platform(settings).alive(), seconds=20)
    while pid_of(settings, "mlflow") == before:
        clock.now += 1
        supervisor.look()


@pytest.mark.usefixtures("environment")
def test_down_ends_the_supervisor_and_whatever_the_platform_has_started(
    settings: Settings,
) -> None:
    launches = platform_of(settings, prefect=SLEEP, worker=SLEEP)
    module = (sys.executable, "-P", "-m", "perpetune.platform.supervisor")
    path = platform_file(settings)
    launch = Launch("supervisor", (*module, str(path)), path.parent / "logs/supervisor.log")
    child = launch.start(stdin=subprocess.PIPE)
    platform = recorded_platform(settings)
    write_platform(
        path,
        Platform(
            platform.prefect_url,
            platform.mlflow_url,
            platform.processes,
            describe(child.pid, launch.log),
        ),
    )
    with child.stdin:
        child.stdin.write(to_lines(list(launches.values())))
    before = pid_of(settings, "worker")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: pid_of(settings, "worker") != before, seconds=60)
    # What a killed worker leaves behind: a round in a session of its own, which nothing names.
    left = subprocess.Popen(SLEEP, start_new_session=True)
    stranger = subprocess.Popen(SLEEP, start_new_session=True, env=os.environ | {MARKER: "/other"})
    threading.Thread(target=child.wait, daemon=True).start()
    threading.Thread(target=left.wait, daemon=True).start()
    stopped = down(settings)
    assert set(stopped.stopped) == {"worker", "prefect"}
    assert (stopped.gone, stopped.others) == ((), 1)
    assert list(marked(settings.project.state_dir)) == []
    assert not path.exists()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    assert down(settings).stopped == (), "again is no error"


@pytest.mark.usefixtures("environment")
def test_down_finds_a_platform_whose_record_is_lost(settings: Settings) -> None:
    platform_of(settings, prefect=SLEEP)
    platform_file(settings).unlink()
    assert down(settings).others == 1
    assert list(marked(settings.project.state_dir)) == []


def test_one_up_or_down_at_a_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perpetune.platform.servers._PATIENCE", 0.1)
    lock = settings.project.state_dir / "locks" / "platform.lock"
    with exclusive(lock, AssertionError()), pytest.raises(Refused, match="up` or `down"):
        down(settings)


@pytest.mark.usefixtures("environment")
def test_a_platform_that_runs_in_part_is_not_taken_for_none(settings: Settings) -> None:
    platform_of(settings, prefect=SLEEP, mlflow=SLEEP, worker=END)
    wait_for(lambda: "worker" not in recorded_platform(settings).alive(), seconds=20)
    state = platform_state(settings)
    assert (state.running, state.gone) == (("prefect", "mlflow"), ("worker",))
    assert state.silent == ("prefect", "mlflow"), "a process is no answer"
    said = " ".join(in_words(state))
    assert "worker ended and is being started again" in said
    assert "no scheduled round" in said
    assert "does not answer" in said
    unsupervised = state.model_copy(update={"supervised": False})
    assert "`perpetune up` starts it again" in in_words(unsupervised)[0]


def test_who_has_a_port_is_said(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = settings.project.state_dir
    monkeypatch.delenv(MARKER, raising=False)
    code = "import socket,sys,time; s=socket.create_server(('127.0.0.1', 0)); "
    code += "print(s.getsockname()[1], flush=True); time.sleep(600)"
    cases = {"": "another program (python", str(tmp_path): "another project", str(state): "before"}
    for marker, words in cases.items():
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ({MARKER: marker} if marker else {}),
        )
        port = int(child.stdout.readline())
        assert not ports.is_free("127.0.0.1", port)
        said, ours = ports.who_has(port, state)
        assert words in said
        assert ours == (marker == str(state))
        child.kill()
        child.communicate()
        assert ports.is_free("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert ports.next_free("127.0.0.1", port) != port


def test_no_proxy_is_asked_for_a_server_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            connection.close()

        threading.Thread(target=serve, daemon=True).start()
        assert answers(f"http://127.0.0.1:{server.getsockname()[1]}/health")
    assert not answers(f"http://127.0.0.1:{free_port()}/health")


@pytest.mark.parametrize(
    ("uri", "local", "url"),
    [
        (None, True, "http://127.0.0.1:5000"),
        ("http://127.0.0.1:5000", True, "http://127.0.0.1:5000"),
        ("http://localhost:5000/", True, "http://127.0.0.1:5000"),
        ("https://u:hidden@mlflow.example/x", False, "https://u:***@mlflow.example/x"),
        ("http://127.0.0.1:5001", False, "http://127.0.0.1:5001"),
        ("sqlite:////tmp/x.db", True, "http://127.0.0.1:5000"),
        ("postgresql+psycopg2://u:hidden@db/x", True, "http://127.0.0.1:5000"),
    ],
)
def test_up_serves_what_the_settings_name(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, uri: str | None, local: bool, url: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = settings.replace(project=settings.project.replace(tracking_uri=uri))
    place = mlflow_place(settings)
    assert (place.local, place.url) == (local, url)
    served = place.variables["PERPETUNE_MLFLOW_DATABASE" if local else "MLFLOW_TRACKING_URI"]
    own = uri is None or uri.startswith("http")
    assert served.endswith("mlflow.db") if local and own else served == uri
    assert "hidden" not in repr(place).replace(repr(place.settings), "")


def test_what_nobody_can_serve_is_refused(settings: Settings) -> None:
    for uri in ("mlruns", "file:///tmp/mlruns", "databricks"):
        given = settings.replace(project=settings.project.replace(tracking_uri=uri))
        with pytest.raises(BadInput, match=r"project\.tracking_uri: .* is neither"):
            mlflow_place(given)


def test_launches_reach_the_supervisor_as_they_are(tmp_path: Path) -> None:
    launch = Launch(
        "mlflow", ("a b", "ü", "--x='y'"), tmp_path / "log", "http://127.0.0.1:1/health"
    )
    (plain,) = json.loads(to_lines([launch]))
    assert plain["command"] == list(launch.command)
    assert plain["health"] == launch.health
