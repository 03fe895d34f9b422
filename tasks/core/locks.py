"""Locks between processes of one machine, as files that stay."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def exclusive(
    path: Path, busy: Exception, *, seconds: float = 0, waiting: str = ""
) -> Iterator[None]:
    """Hold the lock file `path` alone; the operating system releases it when the process ends.

    Args:
        path: the lock file; its folder is made.
        busy: raised where another process holds it.
        seconds: how long to wait for that process.
        waiting: logged before waiting for it.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if waiting and seconds:
                log.info("%s", waiting)
            lock.acquire(timeout=seconds)
    except Timeout:
        raise busy from None
    try:
        yield
    finally:
        lock.release()
