"""The local platform: Prefect and MLflow servers and a worker, in the background, on loopback.

    perpetune up       # starts what is not running
    perpetune down     # stops it; the state folder stays

Each process leads a process group of its own, so that `down` takes its children with it.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from perpetune.platform.credential import (
    credential_file,
    new_credential,
    read_credential,
    webhook_key,
    write_credential,
)
from perpetune.platform.environment import protection
from perpetune.platform.processes import (
    NAMES,
    Platform,
    Process,
    describe,
    platform_file,
    recorded_platform,
    write_platform,
)
from perpetune.platform.results import RunningPlatform, RunningProcess, StoppedPlatform
from tasks.core.errors import BadInput, PerpetuneError
from tasks.registry import Registry, database_uri
from tasks.settings import Settings

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
POOL = "perpetune"
_PATIENCE = 180.0  # seconds; the first start migrates two databases


def up(settings: Settings) -> RunningPlatform:
    """Start the servers and the worker, and record where they are.

    Only what does not run yet is started.

    Raises:
        BadInput: a port is taken.
        PerpetuneError: a server does not answer; its log is named.
    """
    recorded = recorded_platform(settings)
    alive = recorded.alive() if recorded else {}
    if recorded and set(alive) == set(recorded.processes):
        return _described(settings, recorded)
    if alive:
        log.info("of this platform only %s still runs: starting the rest", ", ".join(alive))
    elif platform_file(settings).exists():
        log.info("the platform in %s runs no longer: starting anew", platform_file(settings))
    platform = _start_missing(settings, recorded if alive else None)
    write_platform(settings, platform)
    return _described(settings, platform)


def down(settings: Settings) -> StoppedPlatform:
    """Stop what `up` started; processes that are gone already are no error.

    A process that has taken over a recorded id, after a restart of the machine say, is left alone.
    """
    path = platform_file(settings)
    platform = recorded_platform(settings)
    if platform is None:
        if path.exists():
            log.info("%s names no process that can be identified: none was ended", path)
            path.unlink()
        return StoppedPlatform()
    alive = platform.alive()
    # The worker first, while its server still runs.
    stopped = [name for name in reversed(list(platform.processes)) if name in alive]
    for name in stopped:
        _stop(alive[name])
    gone = [name for name in platform.processes if name not in alive]
    if gone:
        log.info("no longer running: %s; nothing was done to their process ids", ", ".join(gone))
    path.unlink()
    return StoppedPlatform(stopped=tuple(stopped), gone=tuple(gone))


def _start_missing(settings: Settings, running: Platform | None) -> Platform:
    """Start every process that does not run, at the addresses of those that do.

    If it fails, everything that it has started ends again.
    """
    prefect_url = running.prefect_url if running else _url(settings.platform.prefect_port)
    mlflow_url = running.mlflow_url if running else _url(settings.platform.mlflow_port)
    alive = running.alive() if running else {}
    for name, url in (("prefect", prefect_url), ("mlflow", mlflow_url)):
        if name not in alive:
            _require_free(name, _port(url))
    credential = _credential(settings, fresh=not alive)
    # MLflow's database is made here, whole, not by a server that may be killed meanwhile.
    Registry(settings).reconcile()
    kept = {name: running.processes[name] for name in alive} if running else {}
    environment = _environment(prefect_url, mlflow_url, credential)
    # A key of the user's goes before ours.
    environment.setdefault("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", webhook_key(settings))
    starter = _Starter(settings, environment, kept)
    try:
        # -P: folders `flows` and `tasks` in the current folder are not ours.
        module = [sys.executable, "-P", "-m", "flows.prefect_server"]
        starter.start("prefect", [*module, str(_port(prefect_url))])
        starter.start("mlflow", _mlflow_command(settings, mlflow_url))
        starter.wait("prefect", f"{prefect_url}/api/health")
        starter.wait("mlflow", f"{mlflow_url}/health")
        starter.run("prefect", "work-pool", "create", POOL, "--type", "process", "--overwrite")
        starter.start("worker", [_script("prefect"), "worker", "start", "--pool", POOL])
        return Platform(prefect_url, mlflow_url, starter.processes())
    except BaseException:
        starter.stop()
        raise


class _Starter:
    """Starts processes with one environment, and remembers which it has started."""

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], kept: Mapping[str, Process]
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._kept = kept
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str]) -> None:
        """Start `command` in the background with a log of its own, unless `name` runs already."""
        if name in self._kept:
            return
        log.info("starting %s", name)
        path = _log_file(self._settings, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file, _interruptible():
            self._started[name] = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, name: str, url: str) -> None:
        """Wait until `url` answers.

        Raises:
            PerpetuneError: it does not, or the process has ended.
        """
        process = self._started.get(name)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and (process is None or process.poll() is None):
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
                if answer.status == 200:
                    return
            time.sleep(0.3)
        raise PerpetuneError(
            f"{name} does not answer at {url}; see {_log_file(self._settings, name)}"
        )

    def run(self, *command: str) -> None:
        """Run a command to its end.

        Raises:
            PerpetuneError: it failed; the message holds its last lines.
        """
        done = subprocess.run(
            [_script(command[0]), *command[1:]],
            env=self._environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            check=False,
        )
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip()
            raise PerpetuneError(f"{' '.join(command)} failed:\n{said[-2000:]}")

    def processes(self) -> dict[str, Process]:
        """What identifies every process, old and new.

        Raises:
            PerpetuneError: one has ended.
        """
        found = dict(self._kept)
        for name, process in self._started.items():
            path = _log_file(self._settings, name)
            try:
                found[name] = describe(process.pid, path)
            except psutil.Error:
                raise PerpetuneError(f"{name} has ended; see {path}") from None
        return {name: found[name] for name in NAMES}

    def stop(self) -> None:
        """End what was started here."""
        for process in reversed(self._started.values()):
            with contextlib.suppress(psutil.NoSuchProcess):
                _stop(psutil.Process(process.pid))


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    # These processes outlive this command, which may have blocked Ctrl-C for its children.
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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


def _environment(prefect_url: str, mlflow_url: str, credential: str) -> dict[str, str]:
    # On top of what `perpetune.platform.environment.prepare` has set: Prefect's home, no telemetry.
    scripts = Path(sys.executable).parent
    return os.environ | {
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "PREFECT_API_URL": f"{prefect_url}/api",
        # Without it the UI of a server on another port than 4200 still calls port 4200.
        "PREFECT_SERVER_UI_API_URL": f"{prefect_url}/api",
        # The newer pages have the button of an approval in a menu without a name.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_API_AUTH_STRING": credential,
        "PREFECT_API_AUTH_STRING": credential,
        # Or a restart of the server would cost runs their places, and end them.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        **protection(prefect_url, f"http://localhost:{_port(prefect_url)}"),
        "MLFLOW_TRACKING_URI": mlflow_url,
        # Its job workers idle at a tenth of a core each, and nothing here uses them.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def _mlflow_command(settings: Settings, url: str) -> list[str]:
    state = settings.project.state_dir.resolve()
    # -P: a folder `tasks` in the current folder is not ours.
    module = [sys.executable, "-P", "-m", "tasks.registry.server"]
    return [*module, str(_port(url)), _mlflow_store(state), str(state / "mlartifacts")]


def _mlflow_store(state: Path) -> str:
    return database_uri(state / "mlflow.db")


def _log_file(settings: Settings, name: str) -> Path:
    return settings.project.state_dir / "logs" / f"{name}.log"


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _require_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise BadInput(
                f"platform.{name}_port: {port} is taken by another program; "
                f"choose another with --set platform.{name}_port=PORT"
            ) from None


def _stop(leader: psutil.Process) -> None:
    """End a process that `up` started, its group and its descendants."""
    try:
        members = [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(members, timeout=20)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
