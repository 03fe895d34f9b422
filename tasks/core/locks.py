"""Locks between processes of one machine, as files that stay."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path, busy: Exception, *, seconds: float = 0) -> Iterator[None]:
    """Hold the lock file `path` alone; the operating system releases it when the process ends.

    Args:
        path: the lock file; its folder is made.
        busy: raised where another process holds it.
        seconds: how long to wait for that process.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        raise busy from None
    try:
        yield
    finally:
        lock.release()
