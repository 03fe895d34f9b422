"""The environment variables and logging that Prefect and MLflow find when they are imported."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from flows.server import has_server
from perpetune.platform.credential import account, new_credential, read_credential
from perpetune.platform.processes import recorded_platform
from perpetune.platform.state import in_words, platform_state
from tasks.rendering.log_records import show_control_characters
from tasks.settings import Settings

log = logging.getLogger(__name__)

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
NO_PROXY = ("no_proxy", "NO_PROXY")
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
_given: dict[str, str] = {}


def prepare(settings: Settings) -> None:
    """Point Prefect and MLflow at this project's local state, or at its running platform.

    A variable that the user has set already keeps its value.
    """
    state = settings.project.state_dir.resolve()
    values = {
        "PREFECT_HOME": str(state / "prefect"),
        # No telemetry: Prefect, its pages, MLflow.
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "DO_NOT_TRACK": "true",
        # The first start migrates a database; on a busy laptop the default of 20 s is too short.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks,flows,perpetune",
        # Our loggers are used outside of flows, too.
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_CLI_PROMPT": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        # A temporary server has no pages, so that no origin is allowed.
        **protection("http://none.invalid"),
    }
    if not sys.stderr.isatty():
        # Nobody watches progress bars; transformers reads the second variable.
        values |= {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    # Prefect creates its home, but not the folders around it.
    with contextlib.suppress(OSError):
        (state / "prefect").mkdir(parents=True, exist_ok=True)
    platform = recorded_platform(settings)
    serving = platform.serving() if platform else frozenset()
    if platform and "prefect" in serving:
        values["PREFECT_API_URL"] = platform.prefect_api_url
    if platform and "mlflow" in serving:
        values["MLFLOW_TRACKING_URI"] = platform.mlflow_url
    for name, value in values.items():
        os.environ.setdefault(name, value)
    _reach_this_machine_directly()
    _keep_prefects_database_in(Path(os.environ["PREFECT_HOME"]))
    signed = account(settings) if settings.platform.accounts else None
    ours = platform and os.environ.get("MLFLOW_TRACKING_URI") == platform.mlflow_url
    # Somebody who has an account of their own acts under that.
    if signed and ours and not os.environ.get("MLFLOW_TRACKING_USERNAME"):
        os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = signed
    if not has_server():
        # Prefect starts a server for the time of a flow, for this process alone.
        # A credential in the environment is for a server of the user's.
        own = os.environ.setdefault("PREFECT_SERVER_API_AUTH_STRING", new_credential())
        os.environ["PREFECT_API_AUTH_STRING"] = own
    elif platform and os.environ["PREFECT_API_URL"] == platform.prefect_api_url:
        # Only the platform's server is ever sent the platform's credential.
        credential = read_credential(settings)
        if credential:
            os.environ["PREFECT_API_AUTH_STRING"] = credential
        else:
            log.warning(
                "the platform's credential is gone or not yours to read: "
                "`perpetune down` and `perpetune up` make a new one"
            )


def given(names: Sequence[str]) -> list[str]:
    """Values that these variables had before `prepare` changed them."""
    return [_given.get(name, os.environ.get(name, "")) for name in names]


def _reach_this_machine_directly() -> None:
    """Where a proxy is set, have no client ask it for a server of this machine.

    Otherwise Prefect waits for its own temporary server until it gives up.
    """
    if not any(os.environ.get(name) for name in PROXIES):
        return
    known = [os.environ.get(name, "") for name in NO_PROXY]
    names = [name.strip() for value in known for name in value.split(",") if name.strip()]
    value = ",".join(dict.fromkeys([*names, *THIS_MACHINE]))
    for name in NO_PROXY:
        _given.setdefault(name, os.environ.get(name, ""))
        os.environ[name] = value


def _keep_prefects_database_in(home: Path) -> None:
    """Name the database so that a `?` in its path does not end the path.

    Prefect makes an address of the path as it is: what follows a `?` would be options, and the
    database a file outside of the project.
    """
    if "?" in str(home):
        address = f"sqlite+aiosqlite:///file:{quote(str(home / 'prefect.db'))}?uri=true"
        os.environ.setdefault("PREFECT_SERVER_DATABASE_CONNECTION_URL", address)


def warn_of_what_is_gone(settings: Settings) -> None:
    """Say what of a platform that runs in part is gone."""
    state = platform_state(settings, ask=False)
    for sentence in in_words(state) if state else ():
        log.warning("%s", sentence)


def protection(*origins: str) -> dict[str, str]:
    """Settings that close a Prefect server to web pages, except those of these origins.

    A page of another origin can send requests to loopback. The browser shows it no answer (CORS),
    and the server refuses a request that changes something without a token (CSRF), which the page
    cannot read.
    """
    return {
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
    }


def log_to_stderr() -> None:
    """Show what is logged here, and spare the reader tracebacks of errors that are clear."""
    show_control_characters()
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    for name in ("perpetune", "flows", "tasks"):
        logger = logging.getLogger(name)
        if any(isinstance(known, _Stderr) for known in logger.handlers):
            continue
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        # Prefect's console handler, at the root, would repeat every line.
        logger.propagate = False
    # Users can do nothing about these.
    warnings.simplefilter("ignore", FutureWarning)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to the present `sys.stderr`, which a live table replaces at times."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        pass
