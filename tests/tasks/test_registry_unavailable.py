"""What MLflow and what stands behind it raise: what may be over soon, and what will not."""

import http.server
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from sqlalchemy.exc import OperationalError

from tasks.core.errors import PerpetuneError, Unavailable
from tasks.registry import Registry
from tasks.registry.connection import _clear
from tasks.settings import Settings


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that is well, and answers every request for data with one status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.send_response(200 if self.path == "/health" else status)
            self.end_headers()
            self.wfile.write(b"OK")

        do_GET = do_POST = _answer

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "passes"), [(503, True), (500, True), (429, True), (400, False)]
)
def test_a_server_that_is_out_of_order_may_be_back_soon(
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    passes: bool,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with answering(status) as url:
        settings = make_settings(project={"tracking_uri": url})
        with pytest.raises(PerpetuneError) as caught:
            Registry(settings).versions.find("key")
    assert isinstance(caught.value, Unavailable) is passes, caught.value


def test_nobody_listens(make_settings: Callable[..., Settings]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings = make_settings(
            project={"tracking_uri": f"http://127.0.0.1:{probe.getsockname()[1]}"}
        )
        with pytest.raises(Unavailable, match="does not answer; start it"):
            Registry(settings).versions.find("key")


def client_error(status: int) -> ClientError:
    return ClientError({"ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")  # type: ignore[typeddict-item]


RESTART = "terminating connection due to administrator command"


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (client_error(503), True),
        (client_error(429), True),
        (client_error(403), False),
        (client_error(404), False),
        (EndpointConnectionError(endpoint_url="http://store"), True),
        (NoCredentialsError(), False),
        (ConnectionResetError("reset"), True),
        (OSError(28, "No space left on device"), False),
        (PermissionError("no"), False),
        (sqlite3.OperationalError("database is locked"), True),
        (sqlite3.OperationalError("database or disk is full"), False),
        (sqlite3.DatabaseError("file is not a database"), False),
        (OperationalError("SELECT 1", {}, Exception(RESTART)), True),
        (OperationalError("SELECT 1", {}, Exception("no such table: runs")), False),
        (OperationalError("", {}, Exception("gone"), connection_invalidated=True), True),
        (MlflowException("busy", TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("bad", INVALID_PARAMETER_VALUE), False),
        (MlflowException("API request failed with error code 502 != 200"), True),
        (MlflowException(f"(psycopg2.OperationalError) {RESTART}"), True),
        (MlflowException("something else"), False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_kinds_of_errors(error: Exception, passes: bool, tmp_path: Path) -> None:
    del tmp_path
    with pytest.raises(PerpetuneError) as caught, _clear("http://server"):
        raise error
    assert isinstance(caught.value, Unavailable) is passes


def test_what_is_no_error_of_theirs_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError), _clear("http://server"):
        raise ZeroDivisionError
