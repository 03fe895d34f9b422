"""MLflow's pages as this machine's server sends them."""

import asyncio
import re
from pathlib import Path
from typing import Any

import mlflow

from tasks.core.own_pages import FirstScript
from tasks.registry import server

PAGE = b"<!doctype html><html><head><title>MLflow</title></head><body></body></html>"


async def mlflow_app(scope: dict, receive: Any, send: Any) -> None:
    """MLflow's page as it comes, in two parts."""
    del receive
    names = {name for name, _ in scope["headers"]}
    assert not names & {b"accept-encoding", b"if-none-match"}, "as it is on the disk"
    headers = [(b"content-type", b"text/html"), (b"Content-Length", str(len(PAGE)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": PAGE[:20], "more_body": True})
    await send({"type": "http.response.body", "body": PAGE[20:]})


def get(path: str) -> tuple[dict[bytes, bytes], bytes]:
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    headers = [(b"accept", b"text/html")]
    headers += [(b"accept-encoding", b"gzip"), (b"if-none-match", b"x")] if path == "/" else []
    scope = {"type": "http", "path": path, "headers": headers}
    pages = FirstScript(mlflow_app, server._SCRIPT, server._POLICY, lambda path: path == "/")
    asyncio.run(pages(scope, None, send))
    start, *parts = sent
    return dict(start["headers"]), b"".join(part["body"] for part in parts)


def test_the_page_opens_in_the_training_view_and_loads_nothing_from_elsewhere() -> None:
    headers, body = get("/")
    assert body == PAGE.replace(b"<head>", b'<head><script src="/perpetune-first.js"></script>')
    assert int(headers[b"content-length"]) == len(body)
    policy = headers[b"content-security-policy"].decode()
    assert "img-src 'self' data: blob:" in policy
    assert "http" not in policy
    script = get("/perpetune-first.js")[1].decode()
    assert '"mlflow.workflowType_v1": "machine_learning"' in script
    assert get("/api/2.0/anything")[1] == PAGE


def test_mlflow_still_keeps_these_choices_under_these_names() -> None:
    build = Path(mlflow.__file__).parent / "server/js/build/static/js"
    bundled = "".join(path.read_text(encoding="utf-8") for path in build.glob("*.js"))
    names = re.findall(r'"(mlflow\.[\w.-]+)_v1"', server._SCRIPT)
    assert len(names) == 8
    for name in names:
        assert f'"{name}"' in bundled, name
