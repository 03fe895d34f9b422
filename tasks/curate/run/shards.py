"""Shards: what a worker leaves of one chunk of input, on disk, for the steps over all records.

A shard is a folder of NumPy columns, one entry for each record that is left, and of lines of JSON.
It appears under its name when it is whole, and never changes after that: steps write what they find
into files of their own. Numbers of records count through all shards in order.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from tasks.core import files
from tasks.curate.steps.duplicates.sets import Numbers, Sets
from tasks.curate.text.ngrams import Positions
from tasks.records import Record, parse

Ragged: TypeAlias = Literal["shingles", "words", "answers"]
Array: TypeAlias = npt.NDArray[Any]

_ROWS, _DROPPED, _IDS, _SUMMARY = "rows.jsonl", "dropped.jsonl", "ids.json", "summary.json"
_BY_BAND = "bands"
"""The column whose second axis is that of the records: it is read band by band."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What steps know of some records, by the columns' names.

    Attributes:
        arrays: (records, ...) an entry for each record.
        sets: a list of numbers for each record.
        notes: JSON-able, for the few records that have any, by the record's number here.
        totals: summed over all records of a shard.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    sets: dict[str, Sets] = field(default_factory=dict)
    notes: dict[str, dict[int, Any]] = field(default_factory=dict)
    totals: dict[str, Array] = field(default_factory=dict)

    def names(self) -> list[str]:
        """The names of all columns."""
        return [*self.arrays, *self.sets, *self.notes, *self.totals]

    def update(self, other: "Columns") -> None:
        """Take in another step's columns of the same records."""
        assert not set(self.names()) & set(other.names()), "two steps give one column"
        self.arrays.update(other.arrays)
        self.sets.update(other.sets)
        self.notes.update(other.notes)
        self.totals.update(other.totals)


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard, and where its records begin in the numbering of all."""

    folder: Path
    source: str
    first: int
    count: int

    def column(self, name: str) -> Any:
        """(count, ...) one column, as it is on disk."""
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

    def notes(self, name: str) -> dict[int, Any]:
        """A column of notes, by the record's number among all."""
        found = orjson.loads((self.folder / f"{name}.json").read_bytes())
        return {self.first + int(number): note for number, note in found.items()}

    def summary(self) -> dict[str, Any]:
        """Counts that the worker made."""
        found: dict[str, Any] = files.read_json(self.folder / _SUMMARY)
        return found


class Shards:
    """All shards in order: columns over all records (`total` of them), and sets of some."""

    def __init__(self, folders: Sequence[tuple[Path, str]]) -> None:
        self._shards: list[Shard] = []
        first = 0
        for folder, source in folders:
            count = int(np.load(folder / "line.npy", mmap_mode="r").shape[0])
            self._shards.append(Shard(folder, source, first, count))
            first += count
        self.total = first
        self._firsts = np.array([shard.first for shard in self._shards] + [first])

    def __iter__(self) -> Iterator[Shard]:
        return iter(self._shards)

    def column(self, name: str) -> Any:
        """A column of all records, in memory."""
        return np.concatenate([np.asarray(shard.column(name)) for shard in self])

    def band(self, which: int) -> Numbers:
        """(records,) one band of all records' MinHash signatures, as the workers made them."""
        return np.concatenate([np.asarray(shard.column("bands")[which]) for shard in self])

    def sets(self, name: Ragged, numbers: Positions) -> Sets:
        """The sets of these records (ascending numbers), each sorted, every element once."""
        return self.lists(name, numbers).distinct()

    def lists(self, name: Ragged, numbers: Positions) -> Sets:
        """The same, as the workers left them: in the order of the text, with what repeats."""
        found = [shard.sets(name).take(local) for shard, local in self.split(numbers)]
        sizes = np.concatenate([np.empty(0, np.int64), *(sets.sizes() for sets in found)])
        values = np.concatenate([np.empty(0, np.uint32), *(sets.values for sets in found)])
        return Sets(values, np.concatenate(([0], np.cumsum(sizes))))

    def total_of(self, name: str) -> Array:
        """A column of totals, summed over all shards."""
        totals: Array = np.sum([np.load(shard.folder / f"{name}.npy") for shard in self], axis=0)
        return totals

    def first(self, name: Ragged) -> Numbers:
        """(records,) the first element of each record's list; 0 where it is empty."""
        return np.concatenate([shard.sets(name).first() for shard in self])

    def records(self, numbers: Positions) -> Iterator[tuple[int, Record]]:
        """These records (ascending numbers), each with its number."""
        for shard, local in self.split(numbers):
            lines = shard.column("line")
            for number, row in zip(local.tolist(), shard.some_rows(local), strict=True):
                yield shard.first + number, read_row(row, shard.source, int(lines[number]))

    def identities(self, numbers: Positions) -> Iterator[dict[str, Any]]:
        """Id, source and line of these records (ascending numbers)."""
        for identity, (source, line) in zip(self.ids(numbers), self.places(numbers), strict=True):
            yield {"id": identity, "source": source, "line": line}

    def record(self, number: int) -> Record:
        """One record."""
        return next(record for _, record in self.records(np.array([number])))

    def ids(self, numbers: Positions) -> list[str]:
        """The ids of these records (ascending numbers)."""
        found: list[str] = []
        for shard, local in self.split(numbers):
            ids = shard.ids()
            found += [ids[number] for number in local.tolist()]
        return found

    def places(self, numbers: Positions) -> list[tuple[str, int]]:
        """Source and line of these records (ascending numbers)."""
        found: list[tuple[str, int]] = []
        for shard, local in self.split(numbers):
            found += [(shard.source, line) for line in shard.column("line")[local].tolist()]
        return found

    def split(self, numbers: Positions) -> Iterator[tuple[Shard, Positions]]:
        """Ascending numbers by the shard that they are in, counted from its first."""
        borders = np.searchsorted(numbers, self._firsts)
        for shard, begin, end in zip(self._shards, borders[:-1], borders[1:], strict=True):
            if end > begin:
                yield shard, numbers[begin:end] - shard.first


def read_row(row: bytes, source: str, line: int) -> Record:
    """The record of a row, at the place that it was read from in this run."""
    record = parse(orjson.loads(row), source, line)
    assert isinstance(record, Record), record
    return record


class ShardWriter:
    """Collects a shard batch by batch; rows and dropped lines go to disk at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = (folder / _ROWS).open("wb")
        self._dropped = (folder / _DROPPED).open("wb")
        self._ids: list[str] = []
        self._arrays: dict[str, list[Array]] = {}
        self._sets: dict[str, list[Sets]] = {}
        self._notes: dict[str, dict[int, Any]] = {}
        self._totals: dict[str, Array] = {}

    def drop(self, line: dict[str, Any]) -> None:
        """Enter a line into the shard's ledger."""
        self._dropped.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def keep(self, ids: Sequence[str], rows: Sequence[bytes], columns: Columns) -> None:
        """Add the records of a batch: their ids, their lines as they are written, their columns."""
        sizes = np.array([0, *map(len, rows)], dtype=np.int64)
        offsets = self._rows.tell() + np.cumsum(sizes)[:-1]
        self._rows.write(b"".join(rows))
        for name, array in (columns.arrays | {"row": offsets}).items():
            self._arrays.setdefault(name, []).append(array)
        for name, sets in columns.sets.items():
            self._sets.setdefault(name, []).append(sets)
        for name, notes in columns.notes.items():
            known = self._notes.setdefault(name, {})
            known.update({len(self._ids) + number: note for number, note in notes.items()})
        for name, total in columns.totals.items():
            self._totals[name] = self._totals[name] + total if name in self._totals else total
        self._ids += ids

    def close(self, summary: dict[str, Any]) -> None:
        """Write what is left."""
        self._rows.close()
        self._dropped.close()
        for name, arrays in self._arrays.items():
            axis = 1 if name == _BY_BAND else 0
            np.save(self._folder / f"{name}.npy", np.concatenate(arrays, axis=axis))
        for name, found in self._sets.items():
            sizes = np.concatenate([sets.sizes() for sets in found])
            starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
            np.save(self._folder / f"{name}.npy", np.concatenate([sets.values for sets in found]))
            np.save(self._folder / f"{name}.starts.npy", starts)
        for name, notes in self._notes.items():
            (self._folder / f"{name}.json").write_text(json.dumps(notes))
        for name, total in self._totals.items():
            np.save(self._folder / f"{name}.npy", total)
        (self._folder / _IDS).write_bytes(orjson.dumps(self._ids))
        files.write_json(self._folder / _SUMMARY, summary)
