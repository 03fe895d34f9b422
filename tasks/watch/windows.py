"""The windows of a traffic folder: a file each or a folder each, and what of them can be used.

traffic/2026-11-26T10.jsonl                  a window
traffic/2026-11-26T11/part-0.parquet, …      a window: the folder that holds the files
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import orjson

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput, first_line
from tasks.core.values import Value
from tasks.records import RemotePath
from tasks.records.sources import locate

_UNFINISHED = (".partial", ".part", ".tmp", ".crdownload", ".inprogress")
_WRITING_SECONDS = 300.0
_LINES = (".jsonl", ".ndjson")
_TAIL = 2**16


class Fingerprint(Value):
    """By what a window is recognised: the same content is looked at once."""

    digest: str
    """Of the content; of a window that cannot be read, of what the file system says of it."""
    size: int
    modified: int
    """The newest file's time, in nanoseconds."""


@dataclass(frozen=True)
class Window:
    """A slice of traffic: a file, or a folder of files."""

    path: Path

    @classmethod
    def named(cls, name: str) -> Self:
        """The window of this name."""
        return cls(locate(name))

    @property
    def name(self) -> str:
        """By which it is known: its path as the settings lead to it."""
        return str(self.path)

    @property
    def stem(self) -> str:
        """The name for people and for what comes of it, without suffixes."""
        name = self.path.name
        while name.lower().endswith((*records.SUFFIXES, ".gz", ".zst")):
            name = name.rpartition(".")[0]
        return name

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """Its files in order; of a folder, those of a known format."""
        if not isinstance(self.path, RemotePath) and not self.path.is_dir():
            return (self.path,)
        return tuple(records.expand([self.path]))

    def fingerprint(self, known: Fingerprint | None = None) -> Fingerprint:
        """Its fingerprint now.

        Args:
            known: an earlier one, whose digest holds where size and time are as they were.
        """
        try:
            found = self.files
            size, modified = _stat(found)
            if known and modified and (known.size, known.modified) == (size, modified):
                return known
            digests = [files.md5(path) for path in found]
        except (OSError, BadInput) as error:
            size, modified = _stat([self.path])
            text = f"{type(error).__name__} {size} {modified}"
            return Fingerprint(digest=f"unreadable-{_hash([text])}", size=size, modified=modified)
        digest = digests[0] if found == (self.path,) else _hash(digests)
        return Fingerprint(digest=digest, size=size, modified=modified)


class Cleaned(Value):
    """The usable part of a window."""

    path: Path
    """What to compare: the window itself, or a copy of its good lines on this machine."""
    rows: int
    bad: int
    """Lines that are no records."""
    first_bad: str | None = None
    """The first of them: where it is, and why it is none."""


def find_windows(specs: Iterable[str]) -> tuple[tuple[Window, ...], str]:
    """The windows behind these paths, in the order of their names.

    Returns:
        The windows, and a sentence on why there is none or what could not be listed.
    """
    found: dict[Path, None] = {}
    problems: list[str] = []
    for spec in specs:
        place = locate(spec)
        local = not isinstance(place, RemotePath) and place.is_dir()
        parts = sorted(place.iterdir()) if local else [place]
        for part in parts:
            if local and not _may_hold_records(part):
                continue
            try:
                paths = records.expand([part])
            except (BadInput, OSError) as error:
                if part.is_dir() and any(part.iterdir()):  # known, though it cannot be listed
                    found[part] = None
                elif not local:
                    problems.append(first_line(error))
                continue
            for path in paths:
                inside = local and path.parent != place
                found[path.parent if inside else path] = None
        if local and not found:
            problems.append(f"{spec}: holds no window of traffic yet")
    return tuple(Window(path) for path in found), "; ".join(problems)


def unfinished(window: Window, now: float) -> str | None:
    """Why a window seems to be still being written; None: it is whole.

    Args:
        window: on this machine, or elsewhere, where it cannot be told.
        now: in seconds since 1970.
    """
    if isinstance(window.path, RemotePath):
        return None
    try:
        if window.path.is_dir():
            for path in sorted(window.path.iterdir()):
                if path.name.lower().endswith(_UNFINISHED):
                    return f"{path.name} is still being written"
        for path in window.files:
            recent = abs(now - path.stat().st_mtime) < _WRITING_SECONDS
            if recent and path.suffix.lower() in _LINES and _breaks_off(path):
                return f"the last line of {path.name} is still being written"
    except (OSError, BadInput):
        return None  # what cannot be read says so when it is looked at
    return None


def clean(window: Window, folder: Path) -> Cleaned:
    """Count the records of a window, and set its good lines apart where it has bad ones.

    Args:
        window: to be read.
        folder: where the copy of the good lines goes.

    Raises:
        BadInput: it cannot be read.
    """
    bad = 0
    first: str | None = None
    good: list[records.Record] = []
    for path in window.files:
        for item in records.read(path, labelled=False):
            if isinstance(item, records.Record):
                good.append(item)
            else:
                bad += 1
                first = first or f"{path.name}:{item.line}: {item.reason}: {item.detail}"
    target = window.path
    if good and (bad or isinstance(window.path, RemotePath)):
        target = folder / f"{window.stem}-{_hash([window.name])[:8]}.jsonl"
        files.write_jsonl(target, (record.row() for record in good))
    return Cleaned(path=target, rows=len(good), bad=bad, first_bad=first)


def _may_hold_records(path: Path) -> bool:
    name = path.name.lower()
    if name.startswith(".") or name.endswith(_UNFINISHED):
        return False
    return path.is_dir() or name.endswith((*records.SUFFIXES, ".gz", ".zst"))


def _breaks_off(path: Path) -> bool:
    """Whether a file of lines ends within one."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        last = file.read().rpartition(b"\n")[2]
    if not last.strip():
        return False
    try:
        orjson.loads(last)
    except orjson.JSONDecodeError:
        return True
    return False


def _stat(paths: Sequence[Path]) -> tuple[int, int]:
    """Sizes together, and the newest time; zeros where the file system says nothing."""
    try:
        found = [path.stat() for path in paths if not isinstance(path, RemotePath)]
    except OSError:
        return 0, 0
    return sum(one.st_size for one in found), max((one.st_mtime_ns for one in found), default=0)


def _hash(parts: Iterable[str]) -> str:
    return hashlib.md5("\0".join(parts).encode(), usedforsecurity=False).hexdigest()
