"""Locks that a process holds: who, and since when."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import psutil

from perpetune.platform.checks import CHECKS
from perpetune.platform.results import Advice
from tasks.decisions import Problem
from tasks.settings import Settings

_TABLE = Path("/proc/locks")


@CHECKS.register
class Locks:
    """Who holds a lock of this state folder.

    The operating system releases a lock when its process ends, so that a lock file alone says
    nothing. Only Linux tells who holds one.
    """

    name = "locks"
    label = "locks that are held"

    def examine(self, settings: Settings) -> Sequence[Problem]:
        """Each lock that is held now: no fault, unless its process hangs."""
        held = _held()
        state = settings.project.state_dir
        found: list[Problem] = []
        for path in sorted({*state.glob("*.lock"), *state.glob("*/**/*.lock")} if held else ()):
            with contextlib.suppress(OSError):
                pid = held.get(path.stat().st_ino)
                if pid is not None and pid != os.getpid():
                    found.append(_advice(path, pid))
        return found

    def fix(self, _: Settings) -> Sequence[str]:
        """Nothing: a lock goes with its process."""
        return ()


def _advice(path: Path, pid: int) -> Advice:
    who = f"process {pid}"
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        since = datetime.fromtimestamp(process.create_time()).astimezone()
        command = " ".join(process.cmdline())[:80]
        who = f"process {pid} ({command}, since {since:%Y-%m-%d %H:%M})"
    return Advice(what=f"{path} is held by {who}", remedy=f"wait for it, or `kill {pid}`")


def _held() -> dict[int, int]:
    """Process ids by the inode of the file that they have locked."""
    try:
        lines = _TABLE.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return dict(_entries(lines))


def _entries(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    for line in lines:
        parts = line.split()
        if len(parts) >= 6 and parts[1] != "->":  # one that waits for it
            with contextlib.suppress(ValueError):
                yield int(parts[5].rpartition(":")[2]), int(parts[4])
