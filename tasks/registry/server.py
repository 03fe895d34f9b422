"""MLflow's server for this machine, closed to web pages that it did not send itself.

    python -P -m tasks.registry.server PORT DATABASE_URI ARTIFACT_FOLDER

MLflow's own protection refuses what pages of the internet send, but takes changes from a page of
any port of this machine (`mlflow.server.security_utils.is_localhost_origin`), whatever
`--cors-allowed-origins` says.
"""

import os
import sys

from tasks.core.own_pages import OwnPagesOnly

HOST = "127.0.0.1"


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
