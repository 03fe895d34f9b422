"""This machine's copy of the decision log: what is missing or changed in the log is in it."""

import hashlib
import logging
from collections.abc import Sequence

from tasks.core.errors import PerpetuneError
from tasks.decisions import DecisionLog, Entry, FileLog, Stored, readable, restorable
from tasks.settings import Settings

log = logging.getLogger(__name__)


class LogCopy:
    """Entries that writers of this state folder have seen, as a file that only they add to.

    It vouches for nothing by itself; entries are restored from it by their hashes.
    """

    def __init__(self, settings: Settings, original: DecisionLog, *, in_local_mlflow: bool) -> None:
        # A log elsewhere is another log; a project that was moved with its state is the same.
        local = in_local_mlflow and settings.decisions.log == "mlflow"
        place = "" if local else f"-{hashlib.sha256(original.where.encode()).hexdigest()[:8]}"
        name = settings.project.name
        self.path = settings.project.state_dir / "decisions" / f"{name}{place}.jsonl"
        self._file = FileLog(self.path, name)

    def entries(self) -> list[Entry]:
        """Those that are whole."""
        found = (readable(item) for item in self._file.stored())
        return [entry for entry in found if entry is not None]

    def take(self, entries: Sequence[Entry]) -> None:
        """Add what is not there yet. A copy that cannot be written stops nobody."""
        known = {entry.number for entry in self.entries()}
        try:
            for entry in entries:
                if entry.number not in known:
                    self._file.begin(entry)
        except PerpetuneError as error:
            log.warning("no copy of the decision log: %s", error)

    def restorable(self, stored: Sequence[Stored]) -> list[Entry]:
        """Entries that the log lacks or has changed."""
        return restorable(stored, self.entries())
