"""A web server of this machine: closed to pages that it did not send, and what its own pages do."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

_NAMES = ("127.0.0.1", "localhost", "::1")

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]


class OwnPagesOnly:
    """An ASGI application that answers programs and the pages of `app` itself, nobody else.

    A browser names the page that asks (`Origin`) with every request that changes something, and
    always the server that it asks (`Host`). The two have to agree, and the second has to be this
    machine, so that no name of the internet leads here (DNS rebinding).

    Args:
        app: the application.
        address: another address of it, such as `https://mlflow.example.org`: that of a proxy, which
            hands `Host` on as it is.
    """

    def __init__(self, app: App, address: str | None = None) -> None:
        self._app = app
        self._address = address.rstrip("/") if address else None

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Hand the request on, or answer 403 (a socket: close it)."""
        if scope["type"] == "lifespan" or _from_here(dict(scope["headers"]), self._address):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await answer(send, 403, b"text/plain", b"Not from a page of this server.\n")
        else:
            await send({"type": "websocket.close", "code": 1008})


def _from_here(headers: dict[bytes, bytes], address: str | None) -> bool:
    host = headers.get(b"host", b"").decode("latin-1")
    if address and host == urlsplit(address).netloc:
        return headers.get(b"origin", address.encode()) == address.encode()
    try:
        local = urlsplit(f"//{host}").hostname in _NAMES
    except ValueError:
        return False
    origin = headers.get(b"origin")
    return local and (origin is None or origin.decode("latin-1") == f"http://{host}")


class FirstScript:
    """An ASGI application whose pages run a script of ours first and obey a policy.

    A policy under which a page loads nothing from elsewhere (`Content-Security-Policy`) keeps its
    own code, and pictures in texts that it shows, from telling others that it is read.

    Args:
        app: the application.
        script: JavaScript that runs before that of a page.
        policy: the header; `{host}` in it is the server's name and port.
        is_page: whether a path is a page of the application's own, not a file that it holds.
    """

    PATH = "/perpetune-first.js"

    def __init__(self, app: App, script: str, policy: str, is_page: Callable[[str], bool]) -> None:
        self._app = app
        self._script = script.encode()
        self._policy = policy
        self._is_page = is_page

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Answer with the script, or hand the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if scope["path"] == self.PATH:
            await answer(send, 200, b"text/javascript", self._script)
        elif b"text/html" in headers.get(b"accept", b"") and self._is_page(scope["path"]):
            # As it is on the disk: neither compressed nor "not modified".
            plain = (b"accept-encoding", b"if-none-match", b"if-modified-since")
            kept = [item for item in scope["headers"] if item[0] not in plain]
            host = headers.get(b"host", b"").decode("latin-1")
            page = _Page(send, self._policy.replace("{host}", host))
            await self._app({**scope, "headers": kept}, receive, page)
        else:
            await self._app(scope, receive, send)


class _Page:
    """Sends a page on with the script and the policy."""

    def __init__(self, send: Send, policy: str) -> None:
        self._send = send
        self._policy = policy.encode("latin-1")
        self._start: Scope = {}
        self._body = b""

    async def __call__(self, message: Scope) -> None:
        if message["type"] == "http.response.start":
            replaced = (b"content-length", b"content-security-policy", b"etag", b"last-modified")
            known = [item for item in message["headers"] if item[0].lower() not in replaced]
            policy = (b"content-security-policy", self._policy)
            self._start = {**message, "headers": [*known, policy]}
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                script = f'<head><script src="{FirstScript.PATH}"></script>'.encode()
                body = self._body.replace(b"<head>", script, 1)
                self._start["headers"].append((b"content-length", str(len(body)).encode()))
                await self._send(self._start)
                await self._send({"type": "http.response.body", "body": body})


async def answer(send: Send, status: int, kind: bytes, body: bytes) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
