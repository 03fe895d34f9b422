"""What the watch of one model has seen and done: lines of a file that are only ever added.

A line is written whole or not at all: one that a crash cut short is cut off by the next writer, and
readers pass over it. What the lines say together is `tasks.watch.state`'s business.
"""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from tasks.core.errors import PerpetuneError
from tasks.core.locks import exclusive
from tasks.core.values import Value
from tasks.drift import Look
from tasks.settings import Settings
from tasks.watch.windows import Fingerprint

log = logging.getLogger(__name__)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Looked(Value):
    """A window was compared with a champion's reference, or could not be."""

    kind: Literal["looked"] = "looked"
    at: str = Field(default_factory=_now)
    champion: int
    window: str
    fingerprint: Fingerprint
    path: str
    """What was compared: the window, or the copy of its good lines."""
    labelled: int
    bad: int
    first_bad: str | None
    look: Look
    """Without its result, which is in `folder`."""
    folder: str
    """With `look.json` and, where there was a comparison, `report.html`."""


class PutOff(Value):
    """A window was not whole: it is looked at later."""

    kind: Literal["put_off"] = "put_off"
    at: str = Field(default_factory=_now)
    window: str
    digest: str
    why: str


class Adopted(Value):
    """Labelled records of drifted windows joined the data."""

    kind: Literal["adopted"] = "adopted"
    at: str = Field(default_factory=_now)
    windows: dict[str, int]
    """By name, how many labelled records there were."""
    labelled: int
    feedback: str
    benchmark: str


class Alarm(Value):
    """Windows drifted, and a round has to answer. A later line of the same id takes its place."""

    kind: Literal["alarm"] = "alarm"
    at: str = Field(default_factory=_now)
    id: str
    champion: int
    reason: str
    """For the reviewer of the round: escaped, one line."""
    window: str
    """The one with the most evidence."""
    windows: tuple[str, ...]
    looks: tuple[int, ...]
    """Numbers of the looks that raised it."""
    p_value: float
    alpha: float
    rows: int
    labelled: int
    """Labelled records of these windows."""
    reports: tuple[str, ...]


class Told(Value):
    """The event of an alarm was taken by a server, or a round began here."""

    kind: Literal["told"] = "told"
    at: str = Field(default_factory=_now)
    alarm: str
    by: Literal["event", "here"]


class Answer(Value):
    """A round has taken the data of an alarm, or it is not one any more."""

    kind: Literal["answer"] = "answer"
    at: str = Field(default_factory=_now)
    alarm: str
    version: int | None
    why: str


class Read(Value):
    """Traces up to a time became a window."""

    kind: Literal["read"] = "read"
    at: str = Field(default_factory=_now)
    until: int
    """Milliseconds since 1970."""
    window: str | None
    """None: there were none."""


Entry: TypeAlias = Annotated[
    Looked | PutOff | Adopted | Alarm | Told | Answer | Read, Field(discriminator="kind")
]
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)


class History:
    """The history of one model's watch."""

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.project.model_dir / "watch" / settings.project.name
        self.path = self.folder / "history.jsonl"

    def entries(self) -> list[Entry]:
        """Every whole line, oldest first; one that cannot be understood is logged and left out."""
        if not self.path.is_file():
            return []
        found = []
        lines = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):
            try:
                found.append(_ENTRY.validate_python(orjson.loads(line)))
            except (orjson.JSONDecodeError, ValidationError) as error:
                log.warning("%s:%d: left out, no entry: %s", self.path, number, _short(error))
        return found

    def add(self, *entries: Entry) -> None:
        """Add lines, in this order.

        Raises:
            PerpetuneError: they cannot be written, or another process has held the file for a
                minute.
        """
        text = b"".join(
            orjson.dumps(entry.to_json(), option=orjson.OPT_APPEND_NEWLINE) for entry in entries
        )
        busy = PerpetuneError(f"{self.path}: another process holds it; try again")
        try:
            with exclusive(self.path.with_suffix(".lock"), busy, seconds=60):
                self._cut_torn_line()
                with self.path.open("ab") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise PerpetuneError(
                f"{self.path}: cannot be written: {error.strerror or error}; nothing is lost: "
                "what was not written down is looked at again"
            ) from None

    def result_folder(self, window: str, digest: str) -> Path:
        """Where the result of a look at a window is kept."""
        stem = Path(window).name.partition(".")[0][:80] or "window"
        return self.folder / f"{stem}-{digest[-8:]}"

    def _cut_torn_line(self) -> None:
        if not self.path.is_file():
            return
        with self.path.open("rb+") as file:
            data = file.read()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                log.warning("%s: a line that a crash cut short is removed", self.path)
                file.truncate(whole)


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
