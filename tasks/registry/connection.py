"""The way to one MLflow tracking and registry server, without MLflow's process-wide state."""

import logging
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tasks.core.errors import BadInput, PerpetuneError, Refused, Unavailable
from tasks.core.locks import exclusive
from tasks.core.secrets import redacted
from tasks.registry.relocation import ARTIFACTS, Relocation, examine, located, rewrite
from tasks.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow reads these when it is imported or when a run ends; what the user has set stays.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

log = logging.getLogger(__name__)

DATABASE_VARIABLE = "PERPETUNE_MLFLOW_DATABASE"
"""Environment variable with the database that a local server of MLflow serves."""
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_DATABASE = "database"
_LOCK_SECONDS = 60.0
_PASSING_CODES = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED")
_PASSING_STATUSES = (408, 429)
_PASSING_TEXT = re.compile(
    r"Max retries exceeded|Connection (refused|reset|aborted)|RemoteDisconnected|timed out"
    r"|error code (408|429|5\d\d)|could not connect|connection to server|server closed"
    r"|terminating connection|the database system is|database is locked|too many clients",
    re.IGNORECASE,
)
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError")


class Connection:
    """Where MLflow is, a client for it, its errors as ours, and the locks of its writers.

    `uri` may hold a password; `redacted_uri` is the same without it, for messages. Nothing is
    opened before `client()` is first entered.
    """

    def __init__(self, settings: Settings) -> None:
        self._state = settings.project.state_dir.absolute()
        given = settings.project.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        self._database = None if given else self._state / "mlflow.db"
        self.uri = given or database_uri(self._state / "mlflow.db")
        self.redacted_uri = redacted(self.uri)
        self._client: MlflowClient | None = None
        self._experiments: dict[str, str] = {}
        self._in_place = False

    @property
    def artifacts(self) -> Path:
        """Where the artifacts of the local database are."""
        return self._state / ARTIFACTS

    @property
    def local(self) -> bool:
        """Whether this is the database in the state folder."""
        return self._database is not None

    @property
    def empty(self) -> bool:
        """Whether this is the local database and nothing has ever been written to it."""
        return self._database is not None and not self._database.exists()

    @contextmanager
    def client(self) -> "Iterator[MlflowClient]":
        """Yield a client; what MLflow raises meanwhile comes out as a `PerpetuneError`."""
        with _clear(self.redacted_uri):
            if self._client is None:
                self._client = self._connect()
            yield self._client

    @contextmanager
    def lock(self, what: str = "aliases") -> Iterator[None]:
        """Keep out every other process of this state folder that works on `what`.

        Raises:
            Refused: another process has held the lock for a minute.
        """
        path = self._state / "locks" / f"{what}.lock"
        busy = Refused(
            f"another process works on the registry and holds {path}; "
            "try again when it has finished, or end it if it hangs"
        )
        with exclusive(path, busy, seconds=_LOCK_SECONDS):
            if what != _DATABASE:
                self.relocate()
            yield

    def relocation(self) -> Relocation:
        """Whether recorded artifacts lead to where this project was before; reads only."""
        if self._database is None or not self._database.exists():
            return Relocation(here=str(self.artifacts))
        with _clear(self.redacted_uri):
            return examine(self._database, self.artifacts)

    def relocate(self) -> Relocation:
        """Let recorded artifacts lead to the present state folder; whoever writes does so first.

        Raises:
            Refused: another process works on the database.
        """
        nothing = Relocation(here=str(self.artifacts))
        if self._in_place or self._database is None or not self._database.exists():
            return nothing
        changed = self.relocation()
        if changed.locations:
            with self.lock(_DATABASE), _clear(self.redacted_uri):
                changed = rewrite(self._database, self.artifacts)
            log.warning(
                "this project was moved or copied: %d recorded locations of artifacts lead to %s "
                "now, and no longer to %s",
                changed.locations,
                self.artifacts,
                " and ".join(changed.elsewhere),
            )
            self._client = None  # it remembers locations
        self._in_place = True
        return changed

    def find_experiment(self, client: "MlflowClient", name: str) -> str | None:
        """Id of the experiment of this name, if there is one."""
        if name not in self._experiments:
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                return None
            self._experiments[name] = experiment.experiment_id
        return self._experiments[name]

    def experiment(self, client: "MlflowClient", name: str, tags: Mapping[str, str]) -> str:
        """Id of the experiment of this name, created with these tags if there is none.

        Beside a database the artifacts go to `mlartifacts` in the state folder, by absolute path;
        a server has its own place for them.
        """
        found = self.find_experiment(client, name)
        if found is None:
            direct = self.uri.startswith(_DATABASES)
            location = self.artifacts.as_uri() if direct else None
            with ignore_existing():
                # Tags with it: set later, two processes would race, and a person's note be lost.
                client.create_experiment(name, location, tags=dict(tags))
                if self._database is not None:
                    _hide_default(client)
            found = self.find_experiment(client, name)
            assert found is not None
        return found

    def _connect(self) -> "MlflowClient":
        from mlflow import MlflowClient

        if self.uri.startswith("http"):
            self._reach()
        if self._database is not None and not self._database.exists():
            with self.lock(_DATABASE):
                if not self._database.exists():  # nobody has made it meanwhile
                    log.info("creating MLflow's database %s: some seconds, once", self._database)
                    _create(self._database)
        client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        if self._database is not None:
            _translate(client, self.artifacts)
        return client

    def _reach(self) -> None:
        """Ask the server for a sign of life, as MLflow itself would retry for minutes."""
        import requests

        try:
            requests.get(f"{self.uri.rstrip('/')}/health", timeout=5)
        except requests.exceptions.SSLError:
            pass  # it answers; MLflow has settings of its own for certificates
        except (requests.ConnectionError, requests.Timeout) as error:
            raise Unavailable(
                f"MLflow at {self.redacted_uri} does not answer; start it (`perpetune up` starts a "
                "local one), or correct project.tracking_uri in params.yaml or MLFLOW_TRACKING_URI"
            ) from error


def database_uri(path: Path) -> str:
    """The address of a SQLite file, whatever signs its path has."""
    if "?" not in str(path):
        return f"sqlite:///{path}"
    # With its driver named: of the plain form MLflow would make a folder, in the current one.
    return f"sqlite+pysqlite:///file:{quote(str(path))}?uri=true"


def _hide_default(client: "MlflowClient") -> None:
    """Delete the empty experiment that MLflow makes in every new database and shows first."""
    default = client.get_experiment_by_name("Default")
    if default is None or default.lifecycle_stage != "active" or default.experiment_id != "0":
        return
    if not client.search_runs(["0"], max_results=1):
        client.delete_experiment("0")


def _translate(client: "MlflowClient", artifacts: Path) -> None:
    """Let a client's answers name artifacts where they are, if the project was moved or copied."""
    get_run, get_model = client.get_run, client.get_logged_model

    def run(run_id: str) -> Any:
        found = get_run(run_id)
        found.info._artifact_uri = located(found.info.artifact_uri, artifacts)
        return found

    def model(model_id: str, **options: Any) -> Any:
        found = get_model(model_id, **options)
        found.artifact_location = located(found.artifact_location, artifacts)
        return found

    def listing(run_id: str, path: str | None = None) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(run(run_id).info.artifact_uri).list_artifacts(path)

    replaced = {"get_run": run, "get_logged_model": model, "list_artifacts": listing}
    for name, function in replaced.items():
        setattr(client, name, function)


@contextmanager
def _clear(redacted_uri: str) -> Iterator[None]:
    """Let what MLflow, its database and its object store raise come out as a `PerpetuneError`.

    It is `Unavailable` where trying again later may help.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except PerpetuneError:
        raise
    except ModuleNotFoundError as error:
        raise BadInput(_no_driver(redacted_uri, error)) from None
    except Exception as error:
        known = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)
        if not isinstance(error, known) and not _of_object_store(error):
            raise
        # The first line says what happened; the rest is SQL.
        what = str(error).partition("\n")[0]
        kind = Unavailable if _passes(error) else PerpetuneError
        raise kind(f"MLflow at {redacted_uri}: {what}") from error


def _no_driver(redacted_uri: str, error: ModuleNotFoundError) -> str:
    """What a database's address needs that is not installed."""
    scheme = redacted_uri.partition("://")[0].partition("+")[0]
    remedy = {
        "postgresql": "`pip install 'perpetune[postgres]'`",
        "mysql": "`pip install mysqlclient`, or name a driver: mysql+pymysql://…",
    }.get(scheme, f"install the package of {error.name}")
    return f"MLflow at {redacted_uri} needs {error.name}, which is not installed: {remedy}"


def _of_object_store(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("botocore", "boto3", "s3transfer")


def _passes(error: BaseException) -> bool:
    """Whether an error may be over soon: of the network, of a server or database that restarts."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    if isinstance(error, MlflowException):
        if error.error_code in _PASSING_CODES:
            return True
        if error.error_code != "INTERNAL_ERROR":
            return False
        # MLflow has one code for whatever went wrong; what did is the cause, or in the text.
        cause = error.__cause__ or error.__context__
        return bool(_PASSING_TEXT.search(str(error))) or (cause is not None and _passes(cause))
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, (OperationalError, InterfaceError, sqlite3.OperationalError)):
        return bool(_PASSING_TEXT.search(str(error)))
    if _of_object_store(error):
        response = getattr(error, "response", None)
        if response is None:  # no answer came, or none could be read
            return type(error).__name__ not in _NO_CREDENTIALS
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status in _PASSING_STATUSES
    return isinstance(error, _network_errors())


def _network_errors() -> tuple[type[BaseException], ...]:
    import requests

    return (ConnectionError, TimeoutError, requests.ConnectionError, requests.Timeout)


@contextmanager
def ignore_existing() -> Iterator[None]:
    """Let pass MLflow's refusal to create what another process has just created."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _create(database: Path) -> None:
    """Create the tables aside: MLflow cannot go on where a killed process left a half-made file."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    aside = database.with_suffix(".partial")
    aside.unlink(missing_ok=True)
    engine = create_sqlalchemy_engine(database_uri(aside))
    _initialize_tables(engine)
    engine.dispose()
    aside.replace(database)
