"""Log records whose control characters are shown, not obeyed by a terminal."""

import logging
from pathlib import Path
from typing import Any

from tasks.rendering.markdown import one_line, visible


def show_control_characters() -> None:
    """Make every log record of this process a `VisibleRecord`."""
    logging.setLogRecordFactory(VisibleRecord)


class VisibleRecord(logging.LogRecord):
    """A record whose message has no control characters.

    Names and texts of data and people are arguments of log calls: they stay on one line, too, and
    so cannot look like a record of their own.
    """

    def getMessage(self) -> str:
        """The message for every handler."""
        message: str = str(self.msg)
        if isinstance(self.args, dict):
            message %= {key: _shown(value) for key, value in self.args.items()}
        elif self.args:
            message %= tuple(map(_shown, self.args))
        return visible(message)


def _shown(value: Any) -> Any:
    return one_line(str(value)) if isinstance(value, str | Path) else value
