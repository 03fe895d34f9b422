"""What tests of a running platform share: a browser, waiting, requests with the credential."""

import base64
import json
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.project import ProjectFolder

CHROMIUM = shutil.which("chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what: Callable[[], Any], seconds: float = 240) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(1)
    raise AssertionError("waited in vain")


def ask(project: ProjectFolder, url: str, body: Any = None) -> Any:
    """A request of Prefect's API with the credential, as a program of this user sends it."""
    line = (project.path / ".perpetune/credentials/prefect").read_text().strip()
    headers = {"Authorization": f"Basic {base64.b64encode(line.encode()).decode()}"}
    if body is not None:
        token = ask(project, f"{url.partition('/api/')[0]}/api/csrf-token?client=test")
        headers |= {"Prefect-Csrf-Token": token["token"], "Prefect-Csrf-Client": "test"}
        headers["Content-Type"] = "application/json"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None
