"""The local platform: Prefect and MLflow servers and a worker, in the background, on loopback.

    perpetune up       # starts what is not running, deploys prefect.yaml
    perpetune down     # stops it; all state stays in the state folder

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
from pathlib import Path
from typing import Any

import psutil

from flows.environment import platform_file, running_platform
from tasks import files
from tasks.errors import BadInput, PerpetuneError
from tasks.registry import Registry
from tasks.settings import Settings

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
POOL = "perpetune"
_PATIENCE = 180.0  # seconds; the first start migrates two databases


def up(settings: Settings) -> dict[str, Any]:
    """Start the servers and the worker, deploy `prefect.yaml`, and write down where they are.

    Returns:
        The addresses and process ids; those of a platform that is already up, if one is.

    Raises:
        BadInput: a port is taken.
        PerpetuneError: a server does not answer; its log is named.
    """
    platform = running_platform(settings)
    if platform:
        return platform
    ports = {"prefect": settings.platform.prefect_port, "mlflow": settings.platform.mlflow_port}
    for name, port in ports.items():
        _require_free(name, port)
    prefect_url = f"http://{HOST}:{ports['prefect']}"
    mlflow_url = f"http://{HOST}:{ports['mlflow']}"
    environment = _environment(prefect_url, mlflow_url)
    state = settings.project.state_dir.resolve()
    # MLflow's database is made here, once and whole, not by a server that may be killed meanwhile.
    Registry(settings).history()
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        started["prefect"] = _start(
            settings,
            "prefect",
            ["prefect", "server", "start", "--host", HOST, "--port", str(ports["prefect"])],
            environment,
        )
        started["mlflow"] = _start(
            settings,
            "mlflow",
            [
                *("mlflow", "server", "--host", HOST, "--port", str(ports["mlflow"])),
                *("--backend-store-uri", _mlflow_store(state)),
                *("--default-artifact-root", str(state / "mlartifacts"), "--workers", "1"),
            ],
            environment,
        )
        _wait(f"{prefect_url}/api/health", started["prefect"], settings, "prefect")
        _wait(f"{mlflow_url}/health", started["mlflow"], settings, "mlflow")
        _run(
            ["prefect", "work-pool", "create", POOL, "--type", "process", "--overwrite"],
            environment,
        )
        _run(["prefect", "--no-prompt", "deploy", "--all"], environment)
        started["worker"] = _start(
            settings, "worker", ["prefect", "worker", "start", "--pool", POOL], environment
        )
    except BaseException:
        _stop([process.pid for process in started.values()])
        raise
    platform = {
        "prefect_url": prefect_url,
        "prefect_api_url": f"{prefect_url}/api",
        "mlflow_url": mlflow_url,
        "processes": {
            name: {"pid": process.pid, "log": str(_log_file(settings, name))}
            for name, process in started.items()
        },
    }
    files.write_json(platform_file(settings), platform)
    return platform


def down(settings: Settings) -> dict[str, Any]:
    """Stop what `up` started; processes that are gone already are no error.

    Returns:
        `{"stopped": [names]}`.
    """
    path = platform_file(settings)
    if not path.is_file():
        return {"stopped": []}
    processes = files.read_json(path)["processes"]
    # The worker first: it must not see its server vanish.
    _stop([processes[name]["pid"] for name in reversed(processes)])
    path.unlink()
    return {"stopped": list(processes)}


def _environment(prefect_url: str, mlflow_url: str) -> dict[str, str]:
    # On top of what `flows.environment.prepare` has set: Prefect's home, no telemetry.
    scripts = Path(sys.executable).parent
    return os.environ | {
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "PREFECT_API_URL": f"{prefect_url}/api",
        # Without it the UI of a server on another port than 4200 still calls port 4200.
        "PREFECT_SERVER_UI_API_URL": f"{prefect_url}/api",
        "MLFLOW_TRACKING_URI": mlflow_url,
        # Its job workers idle at a tenth of a core each, and nothing here uses them.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def _mlflow_store(state: Path) -> str:
    return f"sqlite:///{state / 'mlflow.db'}"


def _log_file(settings: Settings, name: str) -> Path:
    return settings.project.state_dir / "logs" / f"{name}.log"


def _start(
    settings: Settings, name: str, command: list[str], environment: dict[str, str]
) -> "subprocess.Popen[bytes]":
    log.info("starting %s", name)
    path = _log_file(settings, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    script = Path(sys.executable).parent / command[0]
    with path.open("ab") as file:
        return subprocess.Popen(
            [str(script), *command[1:]],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _run(command: list[str], environment: dict[str, str]) -> None:
    script = Path(sys.executable).parent / command[0]
    done = subprocess.run(
        [str(script), *command[1:]], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise PerpetuneError(f"{' '.join(command)} failed:\n{said[-2000:]}")


def _wait(url: str, process: "subprocess.Popen[bytes]", settings: Settings, name: str) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            if answer.status == 200:
                return
        time.sleep(0.3)
    raise PerpetuneError(f"{name} does not answer at {url}; see {_log_file(settings, name)}")


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


def _stop(groups: list[int]) -> None:
    for group in groups:
        members = _members(group)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)
        _, alive = psutil.wait_procs(members, timeout=20)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=5)


def _members(leader: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(leader)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
