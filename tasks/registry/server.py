"""MLflow's server for this machine, with pages that open where a model's evidence is.

    python -P -m tasks.registry.server PORT DATABASE_URI ARTIFACT_FOLDER

MLflow's own protection refuses what pages of the internet send, but takes changes from a page of
any port of this machine (`mlflow.server.security_utils.is_localhost_origin`), whatever
`--cors-allowed-origins` says: `OwnPagesOnly` refuses those. `ReviewersPages` adds to its pages what
MLflow has no setting for.
"""

import os
import sys
from pathlib import Path
from typing import Any

from tasks.core.own_pages import App, OwnPagesOnly, Scope, Send

HOST = "127.0.0.1"
_SCRIPT_PATH = "/training-view.js"
# MLflow's pages keep these in the browser; a choice that somebody has made there stays.
_SCRIPT = b"""\
const wanted = {
  "mlflow.workflowType_v1": "machine_learning",
  "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": true,
  "mlflow.assistant.panelOpen_v1": false,
  "mlflow.detectIssues.guidanceShown_v1": true,
  "mlflow.flagForReview.guidanceShown_v1": true,
  "mlflow.home.getting-started.collapsed_v1": true,
  "mlflow.settings.telemetry.enabled_v1": false,
  "mlflow.telemetry.info.alert.dismissed_v1": true,
};
for (const [key, value] of Object.entries(wanted)) {
  if (localStorage.getItem(key) === null) localStorage.setItem(key, JSON.stringify(value));
}
"""
# A description is Markdown of models and data: a picture in it would tell a stranger that it is
# being read.
_POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    b"worker-src 'self' blob:; connect-src 'self' data: blob:; frame-src 'self' data: blob:; "
    b"object-src 'none'; frame-ancestors 'self'"
)


class ReviewersPages:
    """An ASGI application whose pages open in the training view and load nothing from elsewhere.

    MLflow opens its GenAI view, an assistant and hints, unless the browser remembers another
    choice.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Answer, or hand the request on."""
        if scope["type"] == "http" and scope["path"] == _SCRIPT_PATH:
            headers = [
                (b"content-type", b"text/javascript"),
                (b"content-length", str(len(_SCRIPT)).encode()),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": _SCRIPT})
        elif scope["type"] == "http" and scope["path"] == "/":
            # As it is on the disk: neither compressed nor "not modified".
            plain = (b"accept-encoding", b"if-none-match", b"if-modified-since")
            scope["headers"] = [item for item in scope["headers"] if item[0] not in plain]
            await self._app(scope, receive, _Page(send))
        else:
            await self._app(scope, receive, send)


class _Page:
    """Sends the page on, with the script and the policy."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Scope = {}
        self._body = b""

    async def __call__(self, message: Scope) -> None:
        if message["type"] == "http.response.start":
            replaced = (b"content-length", b"content-security-policy", b"etag", b"last-modified")
            known = [item for item in message["headers"] if item[0].lower() not in replaced]
            policy = (b"content-security-policy", _POLICY)
            self._start = {**message, "headers": [*known, policy]}
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                script = f'<head><script src=".{_SCRIPT_PATH}"></script>'.encode()
                body = self._body.replace(b"<head>", script, 1)
                self._start["headers"].append((b"content-length", str(len(body)).encode()))
                await self._send(self._start)
                await self._send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until a signal comes, as `mlflow server` would."""
    port, database, folder = sys.argv[1:]
    artifacts = Path(folder).absolute().as_uri()  # whatever signs the path has
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
    uvicorn.run(OwnPagesOnly(ReviewersPages(app)), host=HOST, port=int(port), log_level="info")


if __name__ == "__main__":
    main()
