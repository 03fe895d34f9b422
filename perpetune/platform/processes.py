"""Which platform runs: what `perpetune up` recorded, compared with the processes of this machine.

A process id alone identifies nothing: after a restart of the machine another process has it. A
process is the recorded one only if it has the same start time and command line.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from perpetune.platform.results import PlatformState
from tasks.core import files
from tasks.settings import Settings

SERVERS = ("prefect", "mlflow")
NAMES = (*SERVERS, "worker")
# Seconds. The time at which the machine started is known to the second only.
_SAME_START = 2.0


@dataclass(frozen=True)
class Process:
    """One process of the platform; `started` is in seconds after the machine's start.

    Unlike a time of day, that does not change when the clock is set.
    """

    pid: int
    started: float
    command: tuple[str, ...]
    log: str

    def find(self) -> psutil.Process | None:
        """The process, if it still runs; None if it has ended or another process has its id."""
        try:
            process = psutil.Process(self.pid)
            same = abs(_started(process) - self.started) < _SAME_START
            if same and tuple(process.cmdline()) == self.command:
                return process
        except psutil.Error:
            pass
        return None


@dataclass(frozen=True)
class Platform:
    """The addresses and processes of one platform, by name: prefect, mlflow, worker."""

    prefect_url: str
    mlflow_url: str
    processes: Mapping[str, Process]

    @property
    def prefect_api_url(self) -> str:
        """Where clients of Prefect send their requests."""
        return f"{self.prefect_url}/api"

    def alive(self) -> dict[str, psutil.Process]:
        """Those of its processes that still run."""
        found = {name: process.find() for name, process in self.processes.items()}
        return {name: process for name, process in found.items() if process}


def describe(pid: int, log: Path) -> Process:
    """What identifies the process `pid` from now on.

    Raises:
        psutil.Error: it has ended.
    """
    process = psutil.Process(pid)
    return Process(pid, _started(process), tuple(process.cmdline()), str(log))


def platform_file(settings: Settings) -> Path:
    """Where `perpetune up` records its platform."""
    return settings.project.state_dir / "platform.json"


def write_platform(settings: Settings, platform: Platform) -> None:
    """Record `platform` for later commands."""
    files.write_json(platform_file(settings), asdict(platform))


def recorded_platform(settings: Settings) -> Platform | None:
    """What `perpetune up` recorded last, whether it still runs or not; None without a record.

    A file that cannot be read, or that names its processes by id alone, is no record.
    """
    try:
        plain = json.loads(platform_file(settings).read_bytes())
        return Platform(
            prefect_url=str(plain["prefect_url"]),
            mlflow_url=str(plain["mlflow_url"]),
            processes={name: _process(plain["processes"][name]) for name in NAMES},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def running_platform(settings: Settings) -> Platform | None:
    """The platform of this state folder, if both of its servers run."""
    platform = recorded_platform(settings)
    if platform and set(SERVERS) <= set(platform.alive()):
        return platform
    return None


def platform_state(settings: Settings) -> PlatformState | None:
    """Which processes of the last `perpetune up` run and which are gone; None before any."""
    platform = recorded_platform(settings)
    if platform is None:
        return None
    alive = platform.alive()
    return PlatformState(
        prefect_url=platform.prefect_url,
        mlflow_url=platform.mlflow_url,
        running=tuple(name for name in platform.processes if name in alive),
        gone=tuple(name for name in platform.processes if name not in alive),
    )


def _process(plain: Mapping[str, Any]) -> Process:
    command = tuple(str(part) for part in plain["command"])
    return Process(int(plain["pid"]), float(plain["started"]), command, str(plain["log"]))


def _started(process: psutil.Process) -> float:
    return round(process.create_time() - psutil.boot_time(), 2)
