"""What has to stand in the environment before Prefect and MLflow are imported."""

import contextlib
import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any, TextIO

from tasks.errors import PerpetuneError
from tasks.settings import Settings


def prepare(settings: Settings) -> None:
    """Point Prefect and MLflow at this project's local state, or at its running platform.

    Whatever the user has set in the environment already stays as it is.
    """
    state = settings.project.state_dir.resolve()
    values = {
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # The first start migrates a database: on a busy laptop longer than the default's 20 s.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks,flows",
        "PREFECT_CLI_PROMPT": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if not sys.stderr.isatty():
        # Bars are for people who watch; transformers heeds the second.
        values |= {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    # Prefect creates its home, but not the folders around it.
    with contextlib.suppress(OSError):
        (state / "prefect").mkdir(parents=True, exist_ok=True)
    platform = running_platform(settings)
    if platform:
        values["PREFECT_API_URL"] = platform["prefect_api_url"]
        values["MLFLOW_TRACKING_URI"] = platform["mlflow_url"]
    for name, value in values.items():
        os.environ.setdefault(name, value)


def running_platform(settings: Settings) -> dict[str, Any] | None:
    """What `perpetune up` wrote down, if its servers are still alive."""
    try:
        platform = json.loads(platform_file(settings).read_bytes())
        for process in platform["processes"].values():
            os.kill(process["pid"], 0)
    except (OSError, ValueError):
        return None
    return platform


def platform_file(settings: Settings) -> Path:
    """Where the running platform's addresses and process ids stand."""
    return settings.project.state_dir / "platform.json"


def log_to_stderr() -> None:
    """Show what flows and tasks say, and spare the reader tracebacks of errors that are clear."""
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    for name in ("flows", "tasks"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        # Prefect's console handler, at the root, would say the same once more.
        logger.propagate = False
    # Notes of the libraries to each other, on which no user can act.
    warnings.simplefilter("ignore", FutureWarning)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_without_known_traceback)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what is `sys.stderr` at the moment: a live table stands in for it at times."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        pass


def _without_known_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], PerpetuneError):
        record.exc_info = None
    return True
