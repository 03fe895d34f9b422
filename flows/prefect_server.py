"""Prefect's server for this machine, with pages that a reviewer finds the way through.

    python -P -m flows.prefect_server PORT [HOST [ADDRESS]]

It is Prefect's own application, behind what Prefect has no setting for: it answers its own pages
only, and these sign in first and load nothing from elsewhere. (The newer ones ask an analytics host
at each load, whatever the settings say.)
"""

import sys
from typing import Any

from tasks.core.own_pages import App, FirstScript, OwnPagesOnly, Scope, Send, answer

# Without it an older page that is opened before signing in shows an error, and never comes back to
# the link's target; the newer ones see to it themselves.
_SIGN_IN_FIRST = """\
const page = location.pathname;
const older = page !== "/v2" && !page.startsWith("/v2/");
if (older && !localStorage.getItem("prefect-password") && page !== "/login") {
  const there = page === "/" ? "" : `?redirect=${encodeURIComponent(page + location.search)}`;
  location.replace(`/login${there}`);
}
localStorage.setItem("prefect-show-promotional-content", "false");
"""
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; connect-src 'self' ws://{host} wss://{host}; object-src 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)


class QuietSignIn:
    """An ASGI application whose sign-in page is not covered by an error message.

    The older sign-in page asks for what needs a credential before it has one, and shows each 401 as
    a message that stays.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Answer what that page asks in vain, or hand the request on."""
        if scope["type"] == "http" and _asked_in_vain(scope["path"], dict(scope["headers"])):
            await answer(send, 404, b"text/plain", b"Sign in first.\n")
        else:
            await self._app(scope, receive, send)


def _asked_in_vain(path: str, headers: dict[bytes, bytes]) -> bool:
    if b"authorization" in headers:
        return False
    page = headers.get(b"referer", b"").partition(b"?")[0]
    return path == "/api/csrf-token" or (
        path == "/api/admin/version" and page.endswith(b"/login") and b"/v2/" not in page
    )


def main() -> None:
    """Serve until a signal comes, as `prefect server start` would."""
    import uvicorn
    from prefect.server.api.server import create_app

    port, host, address = (*sys.argv[1:], *("127.0.0.1", "")[len(sys.argv) - 2 :])
    pages = FirstScript(
        QuietSignIn(create_app(final=True)),
        _SIGN_IN_FIRST,
        _POLICY,
        lambda path: not path.startswith("/api/"),
    )
    guarded = OwnPagesOnly(pages, address or None)
    uvicorn.run(guarded, host=host, port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
