"""Parts: what a worker leaves of one chunk of input, on disk, for the steps that see all records.

A part is a folder of NumPy columns, one entry a record that is still in, and of lines of JSON. It
appears under its name when it is whole. Numbers of records count through all parts in order.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from tasks.core import files
from tasks.curate.steps.contamination.overlaps import Overlap
from tasks.curate.steps.duplicates.duplicates import Numbers, Sets
from tasks.curate.text.ngrams import Positions
from tasks.records import Record, parse

Ragged: TypeAlias = Literal["shingles", "words", "answers"]

_ROWS, _DROPPED, _IDS, _OVERLAPS, _DOCUMENT_COUNTS, _SUMMARY = (
    "rows.jsonl",
    "dropped.jsonl",
    "ids.json",
    "overlaps.json",
    "document_counts.npy",
    "summary.json",
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part, and where its records begin in the numbering of all."""

    folder: Path
    source: str
    first: int
    count: int

    def column(self, name: str) -> Any:
        """(count, ...) one column, as it lies on disk."""
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    def sets(self, name: Ragged) -> Sets:
        """The sets of its records, as the worker left them."""
        return Sets(self.column(name), np.load(self.folder / f"{name}.starts.npy"))

    def rows(self) -> list[bytes]:
        """The records as they are written, a line of JSON each."""
        return (self.folder / _ROWS).read_bytes().splitlines(keepends=True)

    def some_rows(self, local: Positions) -> Iterator[bytes]:
        """The rows of these of its records."""
        with (self.folder / _ROWS).open("rb") as file:
            for start in self.column("row")[local].tolist():
                file.seek(start)
                yield file.readline()

    def ids(self) -> list[str]:
        """The records' ids."""
        found: list[str] = orjson.loads((self.folder / _IDS).read_bytes())
        return found

    def dropped(self) -> Iterator[dict[str, Any]]:
        """Ledger lines of the records that are out already, in order; with `text` to show."""
        with (self.folder / _DROPPED).open("rb") as lines:
            yield from map(orjson.loads, lines)

    def overlaps(self) -> dict[int, list[Overlap]]:
        """What its records have of benchmarks, by the record's number among all."""
        found = orjson.loads((self.folder / _OVERLAPS).read_bytes())
        return {
            self.first + int(number): [Overlap.of_row(row) for row in rows]
            for number, rows in found.items()
        }

    def words(self) -> Positions:
        """(words + 1,) what `ContaminationIndex.count_words` found in its records."""
        found: Positions = np.load(self.folder / _DOCUMENT_COUNTS)
        return found

    def summary(self) -> dict[str, Any]:
        """Counts that the worker made."""
        found: dict[str, Any] = files.read_json(self.folder / _SUMMARY)
        return found


class Parts:
    """All parts in order: columns over all records (`total` of them), and sets of some."""

    def __init__(self, folders: Sequence[tuple[Path, str]]) -> None:
        self._parts: list[Part] = []
        first = 0
        for folder, source in folders:
            count = int(np.load(folder / "line.npy", mmap_mode="r").shape[0])
            self._parts.append(Part(folder, source, first, count))
            first += count
        self.total = first
        self._firsts = np.array([part.first for part in self._parts] + [first])

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts)

    def column(self, name: str) -> Any:
        """A column of all records, in memory."""
        return np.concatenate([np.asarray(part.column(name)) for part in self])

    def band(self, which: int) -> Numbers:
        """(records,) one band of all records' MinHash signatures."""
        return np.concatenate([np.asarray(part.column("bands")[which]) for part in self])

    def sets(self, name: Ragged, numbers: Positions) -> Sets:
        """The sets of these records (ascending numbers), each sorted, every element once."""
        return self.lists(name, numbers).distinct()

    def lists(self, name: Ragged, numbers: Positions) -> Sets:
        """The same, as the workers left them: in the order of the text, with what repeats."""
        found = [part.sets(name).take(local) for part, local in self.split(numbers)]
        sizes = np.concatenate([np.empty(0, np.int64), *(some.sizes() for some in found)])
        values = np.concatenate([np.empty(0, np.uint32), *(some.values for some in found)])
        return Sets(values, np.concatenate(([0], np.cumsum(sizes))))

    def first(self, name: Ragged) -> Numbers:
        """(records,) the first element of each record's list; 0 where it is empty."""
        return np.concatenate([part.sets(name).first() for part in self])

    def records(self, numbers: Positions) -> Iterator[tuple[int, Record]]:
        """These records (ascending numbers), each with its number."""
        for part, local in self.split(numbers):
            lines = part.column("line")
            for number, row in zip(local.tolist(), part.some_rows(local), strict=True):
                yield part.first + number, read_row(row, part.source, int(lines[number]))

    def record(self, number: int) -> Record:
        """One record."""
        return next(record for _, record in self.records(np.array([number])))

    def ids(self, numbers: Positions) -> list[str]:
        """The ids of these records (ascending numbers)."""
        found: list[str] = []
        for part, local in self.split(numbers):
            ids = part.ids()
            found += [ids[number] for number in local.tolist()]
        return found

    def places(self, numbers: Positions) -> list[tuple[str, int]]:
        """Source and line of these records (ascending numbers)."""
        found: list[tuple[str, int]] = []
        for part, local in self.split(numbers):
            found += [(part.source, line) for line in part.column("line")[local].tolist()]
        return found

    def split(self, numbers: Positions) -> Iterator[tuple[Part, Positions]]:
        """Ascending numbers by the part that they fall into, counted from its first."""
        borders = np.searchsorted(numbers, self._firsts)
        for part, begin, end in zip(self._parts, borders[:-1], borders[1:], strict=True):
            if end > begin:
                yield part, numbers[begin:end] - part.first


def read_row(row: bytes, source: str, line: int) -> Record:
    """The record of a row, at the place that it was read from in this run."""
    record = parse(orjson.loads(row), source, line)
    assert isinstance(record, Record), record
    return record


class PartWriter:
    """Collects a part batch by batch; rows and dropped lines go to disk at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = (folder / _ROWS).open("wb")
        self._dropped = (folder / _DROPPED).open("wb")
        self._ids: list[str] = []
        self._columns: dict[str, list[npt.NDArray[Any]]] = {}
        self._sets: dict[str, list[Sets]] = {}
        self._overlaps: dict[int, list[list[Any]]] = {}
        self._words: Positions | None = None

    def drop(self, line: dict[str, Any]) -> None:
        """Enter a line into the part's ledger."""
        self._dropped.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def keep(
        self,
        ids: Sequence[str],
        rows: Sequence[bytes],
        columns: dict[str, npt.NDArray[Any]],
        sets: dict[str, Sets],
        overlaps: dict[int, list[Overlap]],
        words: Positions,
    ) -> None:
        """Add the records of a batch; overlaps by their number in it, words as
        `ContaminationIndex.count_words`."""
        self._words = words if self._words is None else self._words + words
        for number, found in overlaps.items():
            self._overlaps[len(self._ids) + number] = [overlap.row() for overlap in found]
        self._ids += ids
        sizes = np.array([0, *map(len, rows)], dtype=np.int64)
        columns = columns | {"row": self._rows.tell() + np.cumsum(sizes)[:-1]}
        self._rows.write(b"".join(rows))
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(values)
        for name, one in sets.items():
            self._sets.setdefault(name, []).append(one)

    def close(self, summary: dict[str, Any]) -> None:
        """Write what is left."""
        self._rows.close()
        self._dropped.close()
        for name, values in self._columns.items():
            # All columns but the signatures have the records first.
            axis = 1 if name == "bands" else 0
            np.save(self._folder / f"{name}.npy", np.concatenate(values, axis=axis))
        for name, found in self._sets.items():
            sizes = np.concatenate([one.sizes() for one in found])
            starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
            np.save(self._folder / f"{name}.npy", np.concatenate([one.values for one in found]))
            np.save(self._folder / f"{name}.starts.npy", starts)
        (self._folder / _IDS).write_bytes(orjson.dumps(self._ids))
        (self._folder / _OVERLAPS).write_text(json.dumps(self._overlaps))
        np.save(
            self._folder / _DOCUMENT_COUNTS,
            np.zeros(1, np.int64) if self._words is None else self._words,
        )
        files.write_json(self._folder / _SUMMARY, summary)
