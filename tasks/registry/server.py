"""MLflow's server for this machine, with pages that open where a model's evidence is.

    PERPETUNE_MLFLOW_DATABASE=URI python -P -m tasks.registry.server PORT ARTIFACT_FOLDER

The database's address may hold a password, which other users could read on a command line. More by
variables: PERPETUNE_MLFLOW_HOST and PERPETUNE_MLFLOW_ADDRESS (that of a proxy with TLS). Where
MLFLOW_AUTH_CONFIG_PATH is set, the server is MLflow's own application with accounts.

MLflow's own protection refuses what pages of the internet send, but takes changes from a page of
any port of this machine (`mlflow.server.security_utils.is_localhost_origin`), whatever
`--cors-allowed-origins` says: `OwnPagesOnly` refuses those. `FirstScript` adds to its pages what
MLflow has no setting for.
"""

import os
import sys
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from tasks.core.own_pages import App, FirstScript, OwnPagesOnly
from tasks.registry.connection import DATABASE_VARIABLE

# MLflow's pages keep these in the browser; a choice that somebody has made there stays.
_SCRIPT = """\
const wanted = {
  "mlflow.workflowType_v1": "machine_learning",
  "_mlflow_model_registry_promo_modal_dismissed_v1": true,
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
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; connect-src 'self' data: blob:; frame-src 'self' data: blob:; "
    "object-src 'none'; frame-ancestors 'self'"
)


def main() -> None:
    """Serve until a signal comes, as `mlflow server` would."""
    port, folder = sys.argv[1:]
    database = os.environ[DATABASE_VARIABLE]
    own, address = f"http://127.0.0.1:{port}", os.environ.get("PERPETUNE_MLFLOW_ADDRESS")
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
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(filter(None, (own, address))),
    }
    if address:
        # `localhost` and the like are allowed by default, and not if anything else is named.
        hosts = (urlsplit(address).netloc, f"127.0.0.1:{port}", f"localhost:{port}")
        os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(hosts)
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(database, database, artifacts)
    pages = FirstScript(_application(), _SCRIPT, _POLICY, lambda path: path == "/")
    host = os.environ.get("PERPETUNE_MLFLOW_HOST", "127.0.0.1")
    uvicorn.run(OwnPagesOnly(pages, address), host=host, port=int(port), log_level="info")


def _application() -> App:
    """MLflow's, with accounts where they are configured."""
    if not os.environ.get("MLFLOW_AUTH_CONFIG_PATH"):
        from mlflow.server.fastapi_app import app

        return cast(App, app)
    os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"  # as `mlflow server` does
    from mlflow.server.auth import create_app

    return cast(App, create_app())


if __name__ == "__main__":
    main()
