"""The decision log as one file: a line for each entry, and a line when its aliases are set."""

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks.core import files
from tasks.core.errors import PerpetuneError, Refused
from tasks.core.locks import exclusive
from tasks.decisions.log import Conflict, Stored
from tasks.decisions.values import Entry

_FINISHED = "finished"
_LOCK_SECONDS = 60.0


class FileLog:
    """A `DecisionLog` in a JSONL file, which may hold the entries of several models.

    Lines are only ever added, under a lock beside the file, and are on the disk before anything
    moves. A last line without an end is what a crash has cut off: it does not count, and the next
    writer removes it.
    """

    def __init__(self, path: Path, model: str) -> None:
        self._path = path
        self._model = model

    @property
    def where(self) -> str:
        """The file."""
        return str(self._path)

    def stored(self) -> Sequence[Stored]:
        """Everything in the log, in its order."""
        lines = self._lines()
        finished = {hash_of for _, text in lines if (hash_of := _finished(text))}
        found = []
        for number, text in lines:
            if _finished(text) is not None or _model(text) not in (self._model, None):
                continue
            entry = _parsed(text)
            done = isinstance(entry, dict) and entry.get("hash") in finished
            place = f"line {number} of {self._path}"
            found.append(Stored(text=text, place=place, finished=done))
        return found

    def begin(self, entry: Entry) -> None:
        """Append an entry; see `DecisionLog.begin`."""
        with self._locked():
            for item in self.stored():
                other = _parsed(item.text)
                if isinstance(other, dict) and other.get("number") == entry.number:
                    raise Conflict(f"entry {entry.number} is in {self._path} already")
            self._append(entry.canonical())

    def finish(self, entry: Entry) -> None:
        """Note that the aliases are as the entry says."""
        with self._locked():
            self._append(json.dumps({_FINISHED: entry.hash}))

    def restore(self, entry: Entry) -> None:
        """Put back an entry that was changed or taken out; it has the hash that it had."""
        with self._locked():
            kept, placed = [], False
            for _, text in self._lines():
                number = _number(text, self._model)
                if number is None or number < entry.number:
                    kept.append(text)
                    continue
                if not placed:
                    kept.append(entry.canonical())
                    placed = True
                if number > entry.number:
                    kept.append(text)
            if not placed:
                kept.append(entry.canonical())
            files.write_text(self._path, "".join(f"{text}\n" for text in kept))

    def _lines(self) -> list[tuple[int, str]]:
        """Whole lines with their numbers."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise PerpetuneError(f"{self._path}: {error.strerror}") from None
        lines = data.split(b"\n")[:-1]
        return [
            (number, line.decode("utf-8", "replace"))
            for number, line in enumerate(lines, 1)
            if line.strip()
        ]

    def _append(self, text: str) -> None:
        """Add a line that is there whole, and on the disk, or not at all."""
        data = f"{text}\n".encode()
        try:
            # Not buffered: what was not written must not follow when the file is closed.
            with self._path.open("ab", buffering=0) as file:
                size = self._cut_off(file.fileno())
                try:
                    written = file.write(data)
                    if written != len(data):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(file.fileno())
                except OSError:
                    os.ftruncate(file.fileno(), size)
                    raise
        except OSError as error:
            raise PerpetuneError(
                f"{self._path}: the decision could not be written down ({error.strerror}); "
                "nothing was changed"
            ) from None

    def _cut_off(self, handle: int) -> int:
        """Remove a last line that a crash has cut off; gives the size."""
        data = self._path.read_bytes()
        size = data.rfind(b"\n") + 1
        if size < len(data):
            os.ftruncate(handle, size)
        return size

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._path.with_name(f".{self._path.name}.lock")
        busy = Refused(f"another process writes to {self._path} and holds {path}; try again")
        try:
            with exclusive(path, busy, seconds=_LOCK_SECONDS):
                yield
        except OSError as error:
            raise PerpetuneError(f"{self._path}: {error.strerror}") from None


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _finished(text: str) -> str | None:
    """The hash of the entry that a line says to be finished; None: it is another line."""
    value = _parsed(text)
    found = value.get(_FINISHED) if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def _model(text: str) -> str | None:
    value = _parsed(text)
    model = value.get("model") if isinstance(value, dict) else None
    return model if isinstance(model, str) else None


def _number(text: str, model: str) -> int | None:
    """The number of an entry of `model`; None: it is another line."""
    value = _parsed(text)
    if not isinstance(value, dict) or value.get("model") != model:
        return None
    number = value.get("number")
    return number if isinstance(number, int) else None
