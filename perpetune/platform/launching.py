"""Starting and ending the platform's processes, and asking them whether they answer."""

import contextlib
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_LOG_BYTES = 10_000_000


@dataclass(frozen=True)
class Launch:
    """How one process is started.

    `health` is an address that answers 200 where the process is a server that works.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    health: str | None = None

    def start(
        self, environment: Mapping[str, str] | None = None, *, stdin: int = subprocess.DEVNULL
    ) -> "subprocess.Popen[bytes]":
        """Start it in the background, as the leader of a session of its own.

        Raises:
            OSError: it cannot be started, or its log cannot be written.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > _LOG_BYTES:
                self.log.replace(self.log.with_name(f"{self.log.name}.before"))
        with self.log.open("ab") as file, _interruptible():
            return subprocess.Popen(
                self.command,
                env=environment,
                stdin=stdin,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def answers(url: str, *, seconds: float = 5.0) -> bool:
    """Whether a server of this machine answers 200; no proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=seconds) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def stop(
    leaders: Sequence[psutil.Process], *, seconds: float = 20.0, descendants: bool = True
) -> None:
    """End processes, their groups and, if wanted, their descendants: politely at first."""
    members: dict[int, psutil.Process] = {}
    groups: set[int] = set()
    for leader in leaders:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            members[leader.pid] = leader
            if descendants:
                members |= {child.pid: child for child in leader.children(recursive=True)}
            if os.getpgid(leader.pid) == leader.pid:
                groups.add(leader.pid)
    alone = [process for process in members.values() if _group(process) not in groups]
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGTERM)
    for process in alone:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(list(members.values()), timeout=seconds)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    # These processes outlive this command, which may have blocked Ctrl-C for its children.
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
