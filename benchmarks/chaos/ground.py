"""What the faults share: a project to copy, a Prefect server, and servers of their own."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos import loop
from benchmarks.chaos.servers import Proxy, proxy
from tests.infra.servers import running
from tests.platform import free_port
from tests.project import ProjectFolder

SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True)
class Result:
    """What one kind of fault did to the loop."""

    fault: str
    times: int
    """How often it struck."""
    went_on: int
    """How often the loop went on or said what to do, the first time it was started again."""
    problems: tuple[str, ...] = ()
    """What was lost or is there twice."""
    said: tuple[str, ...] = ()
    """What the loop said where it stopped, each sentence once."""


@dataclass(frozen=True)
class Ground:
    """A project that nothing has run in, and the variables of the servers."""

    template: Path
    scratch: Path
    environment: dict[str, str] = field(default_factory=dict)

    def project(self, name: str) -> ProjectFolder:
        """A copy of the project, with Prefect's server and an MLflow database of its own."""
        path = self.scratch / name
        shutil.copytree(self.template, path, symlinks=True)
        project = ProjectFolder(path, Path(self.environment["PREFECT_HOME"]))
        project.environment |= self._own
        return project

    @property
    def _own(self) -> dict[str, str]:
        return {k: v for k, v in self.environment.items() if k != "MLFLOW_TRACKING_URI"}

    def lap(self, project: ProjectFolder, number: int = 1, *overrides: str) -> loop.Lap:
        """A lap in such a copy; its model has the copy's name."""
        own = [f"project.name={project.path.name}", *overrides]
        return loop.Lap(project.path, number, self._own, (*loop.SMALL, *own))

    @contextmanager
    def mlflow(self, name: str, store: str | None = None) -> Iterator[Proxy]:
        """An MLflow server behind a proxy."""
        folder = self.scratch / f"{name}-server"
        folder.mkdir()
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [f"{SCRIPTS}/mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        environment = os.environ | {
            "MLFLOW_BACKEND_STORE_URI": store or f"sqlite:///{folder}/mlflow.db",
            "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        ready = f"{url}/health"
        command += ["--workers", "1"]
        with running("mlflow", command, environment, folder, ready), proxy(url) as found:
            yield found


@contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """A Prefect server of its own; the variables with which a flow finds it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = [f"{SCRIPTS}/prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks,flows",
        "DO_NOT_TRACK": "true",
    }
    with running("prefect", server, os.environ | environment, home, f"{url}/api/health"):
        yield environment | {"PREFECT_API_URL": f"{url}/api"}
