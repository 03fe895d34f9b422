"""What runs, when, and who must agree."""

import logging

from tasks.core.errors import PerpetuneError
from tasks.rendering.log_records import show_control_characters


def _without_known_traceback(record: logging.LogRecord) -> bool:
    """Spare the reader the traceback of an error whose message says everything."""
    if record.exc_info and isinstance(record.exc_info[1], PerpetuneError):
        record.exc_info = None
    return True


# Before anything is logged in the processes of Prefect's worker.
show_control_characters()
# Prefect sends what these loggers take to the page of the run, but leaves their level alone.
for _name in ("flows", "tasks"):
    _logger = logging.getLogger(_name)
    if _logger.level == logging.NOTSET:
        _logger.setLevel(logging.INFO)
for _name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
    logging.getLogger(_name).addFilter(_without_known_traceback)
