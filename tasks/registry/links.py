"""Links to MLflow's pages, in the view in which a model's evidence is read."""

import os
from urllib.parse import quote

from tasks.registry.connection import Connection
from tasks.settings import Settings

# MLflow's UI opens every page in its GenAI view unless the link, or the browser's memory of the
# last choice, says otherwise. (It does not look at the experiment's `mlflow.experimentKind`.)
_VIEW = "workflowType=machine_learning"
REVIEW_SHEET = "evaluate/review.html"
DATA_CARD = "data_card.md"


class Links:
    """Pages of the MLflow server; without one, of the server that `perpetune up` starts.

    Where people reach the server under another address than programs, MLFLOW_UI_URL has it.

    A page is named by its place in the UI (`#/models/…`). With `relative` that is all there is: the
    form for texts on MLflow's own pages, which then work under every address of the server.
    """

    def __init__(
        self, connection: Connection, settings: Settings, *, relative: bool = False
    ) -> None:
        local = f"http://127.0.0.1:{settings.platform.mlflow_port}"
        api = connection.redacted_uri if connection.uri.startswith("http") else local
        server = os.environ.get("MLFLOW_UI_URL") or api
        self._server = "" if relative else f"{server.rstrip('/')}/"
        self._connection = connection
        self._model = settings.project.name

    def model(self) -> str:
        """The page of the registered model, with all of its versions."""
        return self._page(f"models/{quote(self._model)}")

    def version(self, number: int) -> str:
        """The page of a version: its model card."""
        return self._page(f"models/{quote(self._model)}/versions/{number}")

    def run(self, run_id: str) -> str:
        """The page of a run: a round, or a trial."""
        return self._page(f"experiments/{self._experiment(run_id)}/runs/{run_id}")

    def artifact(self, run_id: str, path: str) -> str:
        """The page that shows a file of a run, such as `evaluate/review.html`."""
        place = f"experiments/{self._experiment(run_id)}/runs/{run_id}/artifacts"
        return self._page(f"{place}/{quote(path)}")

    def review_sheet(self, run_id: str) -> str:
        """The page that shows the review sheet of a round."""
        return self.artifact(run_id, REVIEW_SHEET)

    def data_card(self, run_id: str) -> str:
        """The page that shows what a round's data is."""
        return self.artifact(run_id, DATA_CARD)

    def rounds(self) -> str | None:
        """The page of all rounds and trials; None before the first."""
        with self._connection.client() as client:
            found = self._connection.find_experiment(client, self._model)
        return None if found is None else self._page(f"experiments/{found}/runs")

    def _experiment(self, run_id: str) -> str:
        with self._connection.client() as client:
            return str(client.get_run(run_id).info.experiment_id)

    def _page(self, path: str) -> str:
        return f"{self._server}#/{path}?{_VIEW}"
