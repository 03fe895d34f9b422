"""Links to MLflow's pages, in the view in which a model's evidence is read."""

from tasks.registry.connection import Connection
from tasks.settings import Settings

# MLflow's UI opens every page in its GenAI view unless the link, or the browser's memory of the
# last choice, says otherwise. (It does not look at the experiment's `mlflow.experimentKind`.)
_VIEW = "workflowType=machine_learning"


class Links:
    """Pages of the MLflow server; without one, of the server that `perpetune up` starts."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        local = f"http://127.0.0.1:{settings.platform.mlflow_port}"
        server = connection.redacted_uri if connection.uri.startswith("http") else local
        self._server = server.rstrip("/")
        self._connection = connection
        self._model = settings.project.name

    def version(self, number: int) -> str:
        """The page of a version."""
        return self._page(f"models/{self._model}/versions/{number}")

    def run(self, run_id: str) -> str:
        """The page of a run."""
        with self._connection.client() as client:
            experiment = client.get_run(run_id).info.experiment_id
        return self._page(f"experiments/{experiment}/runs/{run_id}")

    def _page(self, path: str) -> str:
        return f"{self._server}/#/{path}?{_VIEW}"
