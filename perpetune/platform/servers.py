"""The local platform: Prefect and MLflow servers and a worker, in the background, on loopback.

    perpetune up       # starts what is not running
    perpetune down     # stops it; the state folder stays

Each process leads a process group of its own. A supervisor starts again what ends. One `up` or
`down` at a time works on a state folder.
"""

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from perpetune.platform import ports, supervisor
from perpetune.platform.credential import (
    account_variables,
    credential_file,
    new_credential,
    read_credential,
    webhook_key,
    write_credential,
)
from perpetune.platform.environment import protection
from perpetune.platform.exposure import check_exposure
from perpetune.platform.launching import Launch, answers, stop
from perpetune.platform.mlflow_place import MLflowPlace, mlflow_place
from perpetune.platform.prefect_command import PREFECT, run_prefect
from perpetune.platform.processes import (
    MARKER,
    NAMES,
    Platform,
    Process,
    describe,
    marked,
    platform_file,
    recorded_platform,
    write_platform,
)
from perpetune.platform.results import RunningPlatform, RunningProcess, StoppedPlatform
from tasks.core.errors import BadInput, PerpetuneError, Refused
from tasks.core.locks import exclusive
from tasks.registry import Registry
from tasks.settings import Settings

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
POOL = "perpetune"
_PATIENCE = 180.0  # seconds; the first start migrates two databases


def up(settings: Settings) -> RunningPlatform:
    """Start the servers and the worker, and record where they are.

    Only what does not run yet is started.

    Raises:
        BadInput: a port is taken, or `project.tracking_uri` is nothing that a server can serve.
        PerpetuneError: a server does not answer; its log is named.
    """
    with _alone(settings):
        recorded = recorded_platform(settings)
        alive = recorded.alive() if recorded else {}
        if recorded and set(alive) == set(recorded.processes) and recorded.supervised():
            return _described(settings, recorded)
        if recorded and alive:
            missing = [name for name in recorded.processes if name not in alive]
            log.info("starting what has ended: %s", ", ".join(missing) or "the supervisor")
            _end_supervisor(recorded)
            recorded = recorded_platform(settings)  # it may have started something meanwhile
        elif platform_file(settings).exists():
            log.info("the platform in %s runs no longer: starting anew", platform_file(settings))
        platform = _start_missing(settings, recorded if alive else None)
        return _described(settings, platform)


def down(settings: Settings) -> StoppedPlatform:
    """Stop what `up` started; processes that are gone already are no error.

    A process that has taken over a recorded id, after a restart of the machine say, is left alone.
    Whatever else the platform has started ends as well: a round whose worker was killed, servers
    whose record is lost.
    """
    with _alone(settings):
        return _down(settings)


def _down(settings: Settings) -> StoppedPlatform:
    path = platform_file(settings)
    platform = recorded_platform(settings)
    if platform:
        _end_supervisor(platform)
        platform = recorded_platform(settings)
    elif path.exists():
        log.info("%s names no process that can be identified", path)
    alive = platform.alive() if platform else {}
    processes = platform.processes if platform else {}
    # The worker first, while its server still runs.
    stopped = [name for name in reversed(list(processes)) if name in alive]
    for name in stopped:
        stop([alive[name]])
    left = list(marked(settings.project.state_dir))
    stop(left)
    gone = [name for name in processes if name not in alive]
    if gone:
        log.info("no longer running: %s; nothing was done to their process ids", ", ".join(gone))
    if left:
        log.info("ended %d more processes that the platform had started", len(left))
    path.unlink(missing_ok=True)
    return StoppedPlatform(stopped=tuple(stopped), gone=tuple(gone), others=len(left))


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    path = settings.project.state_dir / "locks" / "platform.lock"
    busy = Refused(
        f"another `perpetune up` or `down` has been working here for {_PATIENCE:g} s "
        f"(it holds {path}): wait for it, or end it"
    )
    with exclusive(path, busy, seconds=_PATIENCE):
        yield


def _end_supervisor(platform: Platform) -> None:
    process = platform.supervised()
    if process:
        stop([process], descendants=False)  # what it has started goes on


def _start_missing(settings: Settings, running: Platform | None) -> Platform:
    """Start every process that does not run, at the addresses of those that do.

    If it fails, everything that it has started ends again.
    """
    place = mlflow_place(settings, running)
    check_exposure(settings, local_mlflow=place.local)
    prefect_url = running.prefect_url if running else _url(settings.platform.prefect_port)
    mlflow_url = place.url
    alive = running.alive() if running else {}
    for name, url in (("prefect", prefect_url), ("mlflow", mlflow_url)):
        if name not in alive and (name == "prefect" or place.local):
            _require_free(settings, name, _port(url))
    credential = _credential(settings, fresh=not alive)
    # MLflow's database is made here, whole, not by a server that may be killed meanwhile.
    with place.reached_directly():
        Registry(place.settings).reconcile()
    environment = _environment(settings, prefect_url, mlflow_url, credential)
    environment |= place.variables
    if place.local and settings.platform.accounts:
        environment |= account_variables(settings)
    # A key of the user's goes before ours.
    environment.setdefault("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", webhook_key(settings))
    launches = _launches(settings, prefect_url, mlflow_url, place)
    kept = {name: running.processes[name] for name in alive} if running else {}
    starter = _Starter(
        Platform(prefect_url, mlflow_url, kept), platform_file(settings), environment
    )
    try:
        for name in (name for name in NAMES if name != "worker" and name in launches):
            starter.start(launches[name])
        for launch in launches.values():
            starter.wait(launch)
        create = ("work-pool", "create", POOL, "--type", "process", "--overwrite")
        run_prefect(*create, env=environment)
        starter.start(launches["worker"])
        return starter.supervise(list(launches.values()), _log_file(settings, "supervisor"))
    except BaseException:
        starter.stop()
        raise


class _Starter:
    """Starts processes with one environment, and records each as soon as it runs."""

    def __init__(self, platform: Platform, path: Path, environment: Mapping[str, str]) -> None:
        self._platform = platform
        self._path = path
        self._environment = environment
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, launch: Launch) -> None:
        """Start a process, unless it runs already.

        Raises:
            PerpetuneError: it has ended at once.
        """
        if launch.name in self._platform.processes:
            return
        log.info("starting %s", launch.name)
        self._started[launch.name] = child = launch.start(self._environment)
        known = {**self._platform.processes, launch.name: _described_process(launch, child.pid)}
        ordered = {name: known[name] for name in NAMES if name in known}
        self._record(replace(self._platform, processes=ordered))

    def wait(self, launch: Launch) -> None:
        """Wait until a server answers.

        Raises:
            PerpetuneError: it does not, or the process has ended.
        """
        if launch.health is None:
            return
        child = self._started.get(launch.name)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and (child is None or child.poll() is None):
            if answers(launch.health):
                return
            time.sleep(0.3)
        raise PerpetuneError(f"{launch.name} does not answer at {launch.health}; see {launch.log}")

    def supervise(self, launches: Sequence[Launch], path: Path) -> Platform:
        """Hand the processes over to a supervisor.

        Raises:
            PerpetuneError: one has ended meanwhile, the supervisor included.
        """
        for name, child in self._started.items():
            if child.poll() is not None:
                found = next(launch for launch in launches if launch.name == name)
                raise PerpetuneError(f"{name} has ended; see {found.log}")
        module = (sys.executable, "-P", "-m", "perpetune.platform.supervisor")
        launch = Launch("supervisor", (*module, str(self._path.absolute())), path)
        self._started["supervisor"] = child = launch.start(self._environment, stdin=subprocess.PIPE)
        # It reads its work after it has been recorded, or it would see that it is not wanted.
        process = _described_process(launch, child.pid)
        self._record(replace(self._platform, supervisor=process))
        assert child.stdin is not None
        with child.stdin:
            child.stdin.write(supervisor.to_lines(launches))
        return self._platform

    def stop(self) -> None:
        """End what was started here."""
        started = [child for child in reversed(self._started.values()) if child.poll() is None]
        stop([psutil.Process(child.pid) for child in started])
        kept = {
            name: process
            for name, process in self._platform.processes.items()
            if name not in self._started
        }
        if kept:
            self._record(replace(self._platform, processes=kept, supervisor=None))
        else:
            self._path.unlink(missing_ok=True)

    def _record(self, platform: Platform) -> None:
        self._platform = platform
        write_platform(self._path, platform)


def _described_process(launch: Launch, pid: int) -> Process:
    try:
        return describe(pid, launch.log)
    except psutil.Error:
        raise PerpetuneError(f"{launch.name} has ended; see {launch.log}") from None


def _credential(settings: Settings, fresh: bool) -> str:
    """A new credential in its file, or that of the processes that run already."""
    if fresh:
        credential = new_credential()
        write_credential(settings, credential)
        return credential
    known = read_credential(settings)
    if known is None:
        raise PerpetuneError(
            f"{credential_file(settings)} is gone or not yours to read, and a part of the platform "
            "runs with it: `perpetune down`, then `perpetune up`"
        )
    return known


def _described(settings: Settings, platform: Platform) -> RunningPlatform:
    return RunningPlatform(
        prefect_url=platform.prefect_url,
        prefect_api_url=platform.prefect_api_url,
        sign_in_url=f"{platform.prefect_url}/login",
        mlflow_url=platform.mlflow_url,
        credential=str(credential_file(settings)),
        processes={
            name: RunningProcess(pid=process.pid, log=process.log)
            for name, process in platform.processes.items()
        },
    )


def _url(port: int) -> str:
    return f"http://{HOST}:{port}"


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _environment(
    settings: Settings, prefect_url: str, mlflow_url: str, credential: str
) -> dict[str, str]:
    # On top of what `perpetune.platform.environment.prepare` has set: Prefect's home, no telemetry.
    scripts = Path(sys.executable).parent
    shown = (settings.platform.prefect_address or prefect_url).rstrip("/")
    return os.environ | {
        MARKER: str(settings.project.state_dir.absolute()),
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "PREFECT_API_URL": f"{prefect_url}/api",
        # Without it the UI of a server on another port than 4200 still calls port 4200.
        "PREFECT_SERVER_UI_API_URL": f"{shown}/api",
        # The newer pages have the button of an approval in a menu without a name.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_API_AUTH_STRING": credential,
        "PREFECT_API_AUTH_STRING": credential,
        # Or a restart of the server would cost runs their places, and end them.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        **protection(shown, prefect_url, f"http://localhost:{_port(prefect_url)}"),
        "PERPETUNE_MLFLOW_HOST": settings.platform.host,
        "PERPETUNE_MLFLOW_ADDRESS": settings.platform.mlflow_address or "",
        "MLFLOW_TRACKING_URI": mlflow_url,
        # Its job workers idle at a tenth of a core each, and nothing here uses them.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def _launches(
    settings: Settings, prefect_url: str, mlflow_url: str, place: MLflowPlace
) -> dict[str, Launch]:
    """How each process is started, by name, in the order of their start."""
    # -P: folders `flows` and `tasks` in the current folder are not ours.
    python = (sys.executable, "-P", "-m")
    artifacts = str(settings.project.state_dir.resolve() / "mlartifacts")
    commands = {
        "prefect": (
            *(*python, "flows.prefect_server", str(_port(prefect_url))),
            *(settings.platform.host, settings.platform.prefect_address or ""),
        ),
        "mlflow": (*python, "tasks.registry.server", str(_port(mlflow_url)), artifacts)
        if place.local
        else (),
        "worker": (PREFECT, "worker", "start", "--pool", POOL),
    }
    health = {"prefect": f"{prefect_url}/api/health", "mlflow": f"{mlflow_url}/health"}
    return {
        name: Launch(name, command, _log_file(settings, name), health.get(name))
        for name, command in commands.items()
        if command
    }


def _log_file(settings: Settings, name: str) -> Path:
    return settings.project.state_dir / "logs" / f"{name}.log"


def _require_free(settings: Settings, name: str, port: int) -> None:
    if ports.is_free(settings.platform.host, port):
        return
    who, ours = ports.who_has(port, settings.project.state_dir)
    free = ports.next_free(HOST, port) or "PORT"
    remedy = (
        "`perpetune down` ends it"
        if ours
        else f"choose another with --set platform.{name}_port={free}"
    )
    raise BadInput(f"platform.{name}_port: {port} is taken by {who}; {remedy}")
