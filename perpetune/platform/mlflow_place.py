"""Where MLflow's data is, and whether `perpetune up` has to start a server for it."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from perpetune.platform.processes import Platform
from tasks.core.errors import BadInput
from tasks.core.secrets import redacted
from tasks.registry import DATABASE_VARIABLE, database_uri
from tasks.settings import Settings

_VARIABLE = "MLFLOW_TRACKING_URI"
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_HERE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class MLflowPlace:
    """The MLflow of one platform.

    `url` is where its pages are, without a password; `local`, whether its server is ours.
    `settings` are those with which the registry is reached before that server runs.
    """

    url: str
    local: bool
    settings: Settings
    variables: dict[str, str] = field(repr=False)

    @contextlib.contextmanager
    def reached_directly(self) -> Iterator[None]:
        """Meanwhile a variable that names our own server, which may not run yet, is not set."""
        before = os.environ.pop(_VARIABLE, None) if self.local else None
        try:
            yield
        finally:
            if before is not None:
                os.environ[_VARIABLE] = before


def mlflow_place(settings: Settings, running: Platform | None = None) -> MLflowPlace:
    """By `project.tracking_uri`, or else MLFLOW_TRACKING_URI.

    Nothing, or the address of the server that `up` starts: SQLite in the state folder. A database:
    the local server serves it. Another server: none is started.

    Args:
        settings: the project.
        running: the platform of which a part runs already; its server keeps its address.

    Raises:
        BadInput: it is none of these.
    """
    url = f"http://127.0.0.1:{settings.platform.mlflow_port}"
    if running and "mlflow" in running.processes:
        url = running.mlflow_url
    given = settings.project.tracking_uri or os.environ.get(_VARIABLE)
    if given is None or _same(given, url):
        database = database_uri(settings.project.state_dir.resolve() / "mlflow.db")
        direct = settings.replace(project=settings.project.replace(tracking_uri=None))
        return MLflowPlace(url, True, direct, {DATABASE_VARIABLE: database})
    scheme = given.partition(":")[0]
    if scheme in ("http", "https"):
        return MLflowPlace(redacted(given).rstrip("/"), False, settings, {_VARIABLE: given})
    if scheme.partition("+")[0] in _DATABASES:
        return MLflowPlace(url, True, settings, {DATABASE_VARIABLE: given})
    raise BadInput(
        f"project.tracking_uri: {redacted(given)} is neither the address of an MLflow server "
        f"(http://…) nor of a database ({', '.join(f'{name}://…' for name in _DATABASES)})"
    )


def _same(uri: str, own: str) -> bool:
    """Whether an address is that of the server which `up` starts."""
    try:
        parts, port = urlsplit(uri), urlsplit(own).port
        return parts.scheme == "http" and parts.hostname in _HERE and parts.port == port
    except ValueError:
        return False
