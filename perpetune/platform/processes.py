"""Which platform runs: what `perpetune up` recorded, compared with the processes of this machine.

A process id alone identifies nothing: after a restart of the machine another process has it. A
process is the recorded one only if it has the same start time and command line. Processes that the
record does not name, such as a round whose worker was killed, are found by a variable in their
environment, which they inherit.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tasks.core import files

if TYPE_CHECKING:
    from tasks.settings import Settings

SERVERS = ("prefect", "mlflow")
NAMES = (*SERVERS, "worker")
MARKER = "PERPETUNE_PLATFORM"
"""Environment variable of every process of a platform: its state folder."""
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
    """The addresses and processes of one platform.

    Its processes are known by name: prefect, mlflow (unless MLflow is elsewhere) and worker. The
    supervisor starts them again when they end.
    """

    prefect_url: str
    mlflow_url: str
    processes: Mapping[str, Process]
    supervisor: Process | None = None
    restarts: Mapping[str, int] = field(default_factory=dict)
    """How often the supervisor has started a process again."""

    @property
    def prefect_api_url(self) -> str:
        """Where clients of Prefect send their requests."""
        return f"{self.prefect_url}/api"

    def alive(self) -> dict[str, psutil.Process]:
        """Those of its processes that still run."""
        found = {name: process.find() for name, process in self.processes.items()}
        return {name: process for name, process in found.items() if process}

    def supervised(self) -> psutil.Process | None:
        """The supervisor, if it still runs."""
        return self.supervisor.find() if self.supervisor else None

    def serving(self) -> frozenset[str]:
        """The servers that run, or that the supervisor is about to start again."""
        servers = frozenset(self.processes) & frozenset(SERVERS)
        return servers if self.supervised() else servers & frozenset(self.alive())


def describe(pid: int, log: Path) -> Process:
    """What identifies the process `pid` from now on.

    Raises:
        psutil.Error: it has ended.
    """
    process = psutil.Process(pid)
    end = time.monotonic() + 5
    # A program that is just being loaded has no command line yet, nor has one that has ended.
    while not (command := tuple(process.cmdline())):
        if time.monotonic() > end or process.status() == psutil.STATUS_ZOMBIE:
            raise psutil.NoSuchProcess(pid)
        time.sleep(0.01)
    return Process(pid, _started(process), command, str(log))


def platform_file(settings: "Settings") -> Path:
    """Where `perpetune up` records its platform."""
    return settings.project.state_dir / "platform.json"


def write_platform(path: Path, platform: Platform) -> None:
    """Record `platform` for later commands."""
    files.write_json(path, asdict(platform))


def read_platform(path: Path) -> Platform | None:
    """What was recorded last, whether it still runs or not; None without a record.

    A file that cannot be read, or that names its processes by id alone, is no record.
    """
    try:
        plain = json.loads(path.read_bytes())
        named = plain["processes"]
        supervisor = plain.get("supervisor")
        return Platform(
            prefect_url=str(plain["prefect_url"]),
            mlflow_url=str(plain["mlflow_url"]),
            processes={name: _process(named[name]) for name in NAMES if name in named},
            supervisor=_process(supervisor) if supervisor else None,
            restarts={name: int(count) for name, count in plain.get("restarts", {}).items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def recorded_platform(settings: "Settings") -> Platform | None:
    """What `perpetune up` recorded last; see `read_platform`."""
    return read_platform(platform_file(settings))


def marked(state_dir: Path) -> Iterator[psutil.Process]:
    """Every process of this user that a platform of `state_dir` has started, or one of those.

    The present process and those that have started it are not among them.
    """
    wanted = str(state_dir.absolute())
    present = psutil.Process()
    spared = {present.pid, *(parent.pid for parent in present.parents())}
    for process in psutil.process_iter():
        if process.pid not in spared and platform_of(process) == wanted:
            yield process


def platform_of(process: psutil.Process) -> str | None:
    """The state folder of the platform that a process belongs to; None of all others."""
    with contextlib.suppress(psutil.Error, OSError):
        if process.uids().real == os.getuid():
            return process.environ().get(MARKER)
    return None


def _process(plain: Mapping[str, Any]) -> Process:
    command = tuple(str(part) for part in plain["command"])
    return Process(int(plain["pid"]), float(plain["started"]), command, str(plain["log"]))


def _started(process: psutil.Process) -> float:
    return round(process.create_time() - psutil.boot_time(), 2)
