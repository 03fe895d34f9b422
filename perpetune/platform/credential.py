"""The secrets of the local servers, which `perpetune up` makes: files for this user only.

Without a credential, a server on loopback answers every process of this machine and, through a
browser, every web page. With one it answers only those that can read a file of this user.
"""

import base64
import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from tasks.core.errors import PerpetuneError
from tasks.registry import database_uri
from tasks.settings import Settings

_USER = "perpetune"


def credential_file(settings: Settings) -> Path:
    """Where the credential of the running platform is: one line, `user:password`."""
    return settings.project.state_dir / "credentials" / "prefect"


def new_credential() -> str:
    """A credential that nobody can guess (256 random bits)."""
    return f"{_USER}:{secrets.token_urlsafe(32)}"


def write_credential(settings: Settings, credential: str) -> None:
    """Keep `credential` for the commands that come later.

    Raises:
        OSError: the folder cannot be written.
    """
    _write(credential_file(settings), credential)


def read_credential(settings: Settings) -> str | None:
    """The credential of the platform that was started last; None if this user has none."""
    return _read(credential_file(settings))


def webhook_key(settings: Settings) -> str:
    """The key with which MLflow's server encrypts secrets of webhooks in its database.

    It stays the same from start to start, or the server could not read them any more.

    Raises:
        OSError: the folder cannot be written.
    """
    path = credential_file(settings).with_name("mlflow-webhooks")
    key = _read(path)
    if key is None:
        key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        _write(path, key)
    return key


def account_file(settings: Settings) -> Path:
    """Where the platform's own account of MLflow's server is: one line, `user:password`."""
    return credential_file(settings).with_name("mlflow")


def account(settings: Settings) -> tuple[str, str] | None:
    """Name and password of the platform's own account; None if this user has none."""
    name, _, password = (_read(account_file(settings)) or "").partition(":")
    return (name, password) if password else None


def account_variables(settings: Settings) -> dict[str, str]:
    """What MLflow's server needs to have accounts, made where it is not there yet.

    The first account is the platform's, which may do everything. Accounts are in a database beside
    it, and are credentials, as far as backups go.

    Raises:
        PerpetuneError: there are accounts, and the platform's password is lost.
        OSError: the folder cannot be written.
    """
    folder = credential_file(settings).parent.resolve()
    database = folder / "accounts.db"
    if account(settings) is None:
        if database.exists():
            raise PerpetuneError(
                f"{account_file(settings)} is gone or not yours to read, and MLflow's accounts "
                f"({database}) were made with it: restore it, or move both away; the accounts are "
                "then made anew"
            )
        _write(account_file(settings), f"{_USER}:{secrets.token_urlsafe(32)}")
    secret = folder / "mlflow-forms"
    if _read(secret) is None:
        _write(secret, secrets.token_urlsafe(32))
    config = folder / "mlflow-accounts.ini"
    lines = ["[mlflow]", "default_permission = EDIT", f"database_uri = {database_uri(database)}"]
    # `%` would begin a reference to another key.
    _write(config, "\n".join(lines).replace("%", "%%"))
    name, password = account(settings) or ("", "")
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": _read(secret) or "",
        "MLFLOW_AUTH_ADMIN_USERNAME": name,
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_TRACKING_USERNAME": name,
        "MLFLOW_TRACKING_PASSWORD": password,
    }


def _write(path: Path, secret: str) -> None:
    """One line, readable by this user only, never in git."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    # The state folder may be in a repository that does not ignore it.
    (path.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    handle, name = tempfile.mkstemp(dir=path.parent)  # mode 0600 from the beginning
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{secret}\n")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read(path: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip() or None
    return None
