"""Prefect's server for this machine, with pages that a reviewer finds their way through.

    python -P -m flows.prefect_server PORT

It is Prefect's own application, behind two things that Prefect has no setting for: it answers its
own pages only (`OwnPagesOnly`), and its pages behave (`ReviewersPages`).
"""

import sys
from typing import Any

from tasks.core.own_pages import App, OwnPagesOnly, Scope, Send

HOST = "127.0.0.1"
_SCRIPT_PATH = "/sign-in-first.js"
# Without it a page that is opened before signing in shows an error, and never the link's target.
_SCRIPT = b"""\
const base = location.pathname.startsWith("/v2") ? "/v2" : "";
const page = location.pathname.slice(base.length) || "/";
if (!localStorage.getItem("prefect-password") && page !== "/login") {
  const there = page === "/" ? "" : `?redirect=${encodeURIComponent(page + location.search)}`;
  location.replace(`${base}/login${there}`);
}
localStorage.setItem("prefect-show-promotional-content", "false");
"""


class ReviewersPages:
    """An ASGI application whose pages sign in first and load nothing from elsewhere.

    - Prefect's newer pages ask an analytics host at each load, whatever the settings say, and a
      description is Markdown of models and data: a picture in it would tell a stranger that it is
      being read. `Content-Security-Policy` forbids both.
    - Before anybody has signed in, its older pages ask for what needs a credential, and cover the
      page with an error message that stays. They get another answer.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Answer, or hand the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if scope["path"] == _SCRIPT_PATH:
            await _answer(send, 200, b"text/javascript", _SCRIPT)
        elif _asked_by_the_sign_in_page(scope["path"], headers):
            await _answer(send, 404, b"text/plain", b"Sign in first.\n")
        elif b"text/html" in headers.get(b"accept", b""):
            # As it is on the disk: neither compressed nor "not modified".
            plain = (b"accept-encoding", b"if-none-match", b"if-modified-since")
            scope["headers"] = [item for item in scope["headers"] if item[0] not in plain]
            await self._app(scope, receive, _Page(send, headers))
        else:
            await self._app(scope, receive, send)


class _Page:
    """Sends a page on with the script and the policy."""

    def __init__(self, send: Send, headers: dict[bytes, bytes]) -> None:
        self._send = send
        here = headers.get(b"host", b"").decode("latin-1")
        self._policy = (
            "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
            "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
            f"worker-src 'self' blob:; connect-src 'self' ws://{here}; object-src 'none'; "
            "frame-ancestors 'none'; form-action 'self'"
        ).encode("latin-1")
        self._start: Scope | None = None
        self._body = b""

    async def __call__(self, message: Scope) -> None:
        if message["type"] == "http.response.start":
            known = [item for item in message.get("headers", ()) if item[0] != b"content-length"]
            policy = (b"content-security-policy", self._policy)
            self._start = {**message, "headers": [*known, policy]}
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                script = f'<head><script src="{_SCRIPT_PATH}"></script>'.encode()
                body = self._body.replace(b"<head>", script, 1)
                length = (b"content-length", str(len(body)).encode())
                self._start["headers"].append(length)
                await self._send(self._start)
                await self._send({"type": "http.response.body", "body": body})
        else:
            await self._send(message)


def _asked_by_the_sign_in_page(path: str, headers: dict[bytes, bytes]) -> bool:
    if b"authorization" in headers:
        return False
    page = headers.get(b"referer", b"").partition(b"?")[0]
    return path == "/api/csrf-token" or (
        path == "/api/admin/version" and page.endswith(b"/login") and b"/v2/" not in page
    )


async def _answer(send: Send, status: int, kind: bytes, body: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until a signal comes, as `prefect server start` would."""
    import uvicorn
    from prefect.server.api.server import create_app

    (port,) = sys.argv[1:]
    app = OwnPagesOnly(ReviewersPages(create_app(final=True)))
    uvicorn.run(app, host=HOST, port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
