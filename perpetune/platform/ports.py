"""Who has a port of this machine."""

import contextlib
import socket
from pathlib import Path

import psutil

from perpetune.platform.processes import platform_of


def is_free(host: str, port: int) -> bool:
    """Whether a server can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def next_free(host: str, port: int) -> int | None:
    """The first free port after `port`, of the hundred that follow."""
    following = range(port + 1, min(port + 100, 65536))
    return next((number for number in following if is_free(host, number)), None)


def who_has(port: int, state_dir: Path) -> tuple[str, bool]:
    """Who listens on a port, in words, and whether it is a process of the platform of `state_dir`.

    Programs of other users cannot be named.
    """
    process = _listener(port)
    if process is None:
        return "a program of another user", False
    state = platform_of(process)
    if state == str(state_dir.absolute()):
        return f"process {process.pid}, which `perpetune up` started here before", True
    if state is not None:
        return f"the platform of another project, whose state is in {state}", False
    name = "a program"
    with contextlib.suppress(psutil.Error):
        name = process.name()
    return f"another program ({name}, process {process.pid})", False


def _listener(port: int) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            here = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if here and connection.pid:
                return psutil.Process(connection.pid)
    return None
