"""Who somebody is, as far as MLflow's server or this machine can tell."""

import getpass
import os
import subprocess

from tasks.core.errors import PerpetuneError, Refused
from tasks.decisions import AUTO_APPROVER, Identity, normalised
from tasks.registry.connection import Connection
from tasks.rendering.markdown import one_line

_CURRENT_USER = "/api/2.0/mlflow/users/current"


def check_identity(connection: Connection, by: str) -> Identity:
    """Whether the server vouches for the name.

    Where MLflow's server has accounts, only its users decide, each under their own name: the one of
    MLFLOW_TRACKING_USERNAME, whose password the server has checked. Elsewhere a name is a claim.

    Raises:
        Refused: the server does not know the user, or the user has another name than `by`.
        PerpetuneError: the server cannot be asked.
    """
    user = authenticated_user(connection)
    if user is None:
        return "claimed"
    if normalised(by) != normalised(user):
        raise Refused(
            f"MLflow's server knows you as {one_line(user)}, and nobody decides under another "
            f"name: give --by {one_line(user)}, or set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD to your own"
        )
    return "authenticated"


def authenticated_user(connection: Connection) -> str | None:
    """The user that MLflow's server has authenticated; None where it has no accounts.

    Raises:
        Refused: it has accounts, and the credentials are missing or wrong.
        PerpetuneError: the server cannot be asked.
    """
    if not connection.uri.startswith("http"):
        return None
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    with connection.client():  # what is raised meanwhile comes out as a PerpetuneError
        answer = http_request(
            get_default_host_creds(connection.uri),
            _CURRENT_USER,
            "GET",
            max_retries=1,
            timeout=10,
            raise_on_status=False,
        )
    if answer.status_code in (401, 403):
        raise Refused(
            f"MLflow at {connection.redacted_uri} has accounts and does not know you: set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if answer.status_code == 404:
        return None
    try:
        return str(answer.json()["user"]["username"])
    except (ValueError, KeyError, TypeError):
        raise PerpetuneError(
            f"MLflow at {connection.redacted_uri} does not say who you are "
            f"(status {answer.status_code})"
        ) from None


def author_names() -> tuple[str, ...]:
    """Names under which whoever runs this process is known, and that of unattended approvals."""
    names = [
        os.environ.get("MLFLOW_TRACKING_USERNAME", ""),
        _git("user.name"),
        _git("user.email"),
        _account(),
        AUTO_APPROVER,
    ]
    return tuple(dict.fromkeys(name for name in names if name))


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user id without a name
        return ""


def _git(key: str) -> str:
    try:
        done = subprocess.run(
            ["git", "config", key], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()
