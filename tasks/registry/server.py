"""MLflow's server for this machine, with pages that open where a model's evidence is.

    PERPETUNE_MLFLOW_DATABASE=URI python -P -m tasks.registry.server PORT ARTIFACT_FOLDER

The database's address may hold a password, which other users could read on a command line.

MLflow's own protection refuses what pages of the internet send, but takes changes from a page of
any port of this machine (`mlflow.server.security_utils.is_localhost_origin`), whatever
`--cors-allowed-origins` says: `OwnPagesOnly` refuses those. `FirstScript` adds to its pages what
MLflow has no setting for.
"""

import os
import sys
from pathlib import Path

from tasks.core.own_pages import FirstScript, OwnPagesOnly
from tasks.registry.connection import DATABASE_VARIABLE

HOST = "127.0.0.1"
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
    pages = FirstScript(app, _SCRIPT, _POLICY, lambda path: path == "/")
    uvicorn.run(OwnPagesOnly(pages), host=HOST, port=int(port), log_level="info")


if __name__ == "__main__":
    main()
