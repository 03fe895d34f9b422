"""MLflow's server for this machine, closed to web pages that it did not send itself.

    python -P -m tasks.registry.server PORT DATABASE_URI ARTIFACT_FOLDER

MLflow's own protection refuses what pages of the internet send, but takes changes from a page of
any port of this machine (`mlflow.server.security_utils.is_localhost_origin`), whatever
`--cors-allowed-origins` says.
"""

import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

HOST = "127.0.0.1"
_NAMES = ("127.0.0.1", "localhost", "::1")

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Callable[[Scope], Awaitable[None]]], Awaitable[None]]


class OwnPagesOnly:
    """An ASGI application that answers programs and the pages of `app` itself, nobody else.

    A browser names the page that asks (`Origin`) with every request that changes something, and
    always the server that it asks (`Host`). The two have to agree, and the second has to be this
    machine, so that no name of the internet leads here (DNS rebinding).
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(
        self, scope: Scope, receive: Any, send: Callable[[Scope], Awaitable[None]]
    ) -> None:
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


def main() -> None:
    """Serve until a signal comes, as `mlflow server` would."""
    port, database, artifacts = sys.argv[1:]
    # MLflow's modules look for both when they are imported.
    import uvicorn
    from mlflow.server import constants

    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: database,
        constants.REGISTRY_STORE_URI_ENV_VAR: database,
        constants.ARTIFACT_ROOT_ENV_VAR: artifacts,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: artifacts,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port}",
    }
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(database, database, artifacts)
    uvicorn.run(OwnPagesOnly(app), host=HOST, port=int(port), log_level="info")


if __name__ == "__main__":
    main()
