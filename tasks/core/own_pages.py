"""Closes a web server of this machine to pages that it did not send itself."""

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
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Hand the request on, or answer 403 (a socket: close it)."""
        if scope["type"] == "lifespan" or _from_here(dict(scope["headers"])):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"Not from a page of this server.\n"})
        else:
            await send({"type": "websocket.close", "code": 1008})


def _from_here(headers: dict[bytes, bytes]) -> bool:
    host = headers.get(b"host", b"").decode("latin-1")
    try:
        local = urlsplit(f"//{host}").hostname in _NAMES
    except ValueError:
        return False
    origin = headers.get(b"origin")
    return local and (origin is None or origin.decode("latin-1") == f"http://{host}")
