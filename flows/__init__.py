"""What runs, when, and who must agree."""

import logging

from tasks.rendering.log_records import show_control_characters

# Before anything is logged in the processes of Prefect's worker.
show_control_characters()
# Prefect sends what these loggers take to the page of the run, but leaves their level alone.
for _name in ("flows", "tasks"):
    _logger = logging.getLogger(_name)
    if _logger.level == logging.NOTSET:
        _logger.setLevel(logging.INFO)
