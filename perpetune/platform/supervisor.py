"""Starts processes of the platform again when they end, until `perpetune down`.

    python -P -m perpetune.platform.supervisor PLATFORM_FILE < launches.json

`perpetune up` starts it last. It knows the processes by the platform's record, whoever has started
them, and records those that it starts, so that `perpetune down` finds them. Where it is killed,
they go on, and the next `perpetune up` starts another. It is small, since it runs all the time.
"""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from perpetune.platform.launching import Launch, answers, stop
from perpetune.platform.processes import Platform, describe, read_platform, write_platform

log = logging.getLogger("perpetune.platform.supervisor")

LOOK = 2.0
"""Seconds between two looks at the processes."""
_PAUSES = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
"""Seconds before a process is started again that ends again and again."""
_STEADY = 120.0
"""A process that has run for so many seconds starts with the first pause again."""
_ASK = 30.0
_SILENT = 300.0
"""Seconds after which a server that runs and never answers is ended. Training on the same machine
can keep one from answering for a minute or two."""


@dataclass
class _Watched:
    """What the supervisor remembers of one process."""

    launch: Launch
    ended: int = 0
    """How often in a row it ended soon after its start."""
    due: float | None = None
    """When it is started again; None: it is not known to have ended."""
    since: float = 0.0
    answered: float = 0.0
    asked: float = 0.0
    child: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)


class Supervisor:
    """Looks at each process in turn.

    Args:
        path: the platform's record. When it is gone, or names another supervisor, this one ends.
        launches: how each process is started.
        pid: of this process, which the record names as the supervisor.
        clock: seconds from any moment on.
    """

    def __init__(
        self,
        path: Path,
        launches: Sequence[Launch],
        pid: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._pid = pid
        self._clock = clock
        now = clock()
        self._watched = [
            _Watched(launch, since=now, answered=now, asked=now) for launch in launches
        ]

    def look(self) -> bool:
        """Start what has ended and is due; returns whether there is anything left to look after."""
        platform = read_platform(self._path)
        if platform is None or platform.supervisor is None or platform.supervisor.pid != self._pid:
            return False
        for watched in self._watched:
            platform = self._look_at(watched, platform)
        return True

    def _look_at(self, watched: _Watched, platform: Platform) -> Platform:
        now, name = self._clock(), watched.launch.name
        if watched.child is not None:
            watched.child.poll()  # or it stays a zombie
        recorded = platform.processes.get(name)
        process = recorded.find() if recorded else None
        if process is not None:
            watched.due = None
            if now - watched.since > _STEADY:
                watched.ended = 0
            self._ask(watched, process, now)
            return platform
        if watched.due is None:
            pause = _PAUSES[min(watched.ended, len(_PAUSES) - 1)]
            watched.ended += 1
            watched.due = now + pause
            log.warning(
                "%s has ended; it is started again in %g s; see %s", name, pause, watched.launch.log
            )
        return self._start(watched, platform) if now >= watched.due else platform

    def _start(self, watched: _Watched, platform: Platform) -> Platform:
        name, now = watched.launch.name, self._clock()
        watched.due, watched.since, watched.answered = None, now, now
        try:
            watched.child = watched.launch.start()
            process = describe(watched.child.pid, watched.launch.log)
        except (OSError, psutil.Error) as error:
            log.warning("%s cannot be started: %s", name, error)
            return platform
        log.info("started %s (process %d)", name, process.pid)
        changed = replace(
            platform,
            processes={**platform.processes, name: process},
            restarts={**platform.restarts, name: platform.restarts.get(name, 0) + 1},
        )
        try:
            write_platform(self._path, changed)
        except OSError as error:  # a full disk; `perpetune down` finds the process all the same
            log.warning("%s cannot be written: %s", self._path, error)
        return changed

    def _ask(self, watched: _Watched, process: psutil.Process, now: float) -> None:
        """End a server that has not answered for minutes; it is started again."""
        url = watched.launch.health
        if url is None or now - watched.asked < _ASK:
            return
        watched.asked = now
        if answers(url, seconds=10):
            watched.answered = now
        elif now - watched.answered > _SILENT:
            log.warning("%s has not answered for %g s: ending it", watched.launch.name, _SILENT)
            stop([process])


def to_lines(launches: Sequence[Launch]) -> bytes:
    """Launches as the supervisor reads them."""
    plain = [
        {
            "name": launch.name,
            "command": list(launch.command),
            "log": str(launch.log),
            "health": launch.health,
        }
        for launch in launches
    ]
    return json.dumps(plain).encode()


def main() -> None:
    """Look after the processes until a signal comes or the platform's record is gone."""
    path = Path(sys.argv[1])
    launches = [
        Launch(item["name"], tuple(item["command"]), Path(item["log"]), item["health"])
        for item in json.load(sys.stdin)
    ]
    logging.basicConfig(format="%(asctime)s  %(message)s", level=logging.INFO)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    import os

    supervisor = Supervisor(path, launches, os.getpid())
    while not ended.wait(LOOK) and supervisor.look():
        pass


if __name__ == "__main__":
    main()
