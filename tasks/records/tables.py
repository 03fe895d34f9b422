"""Rows of tables: Parquet, Arrow, and text with separators."""

import base64
import csv
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from tasks.core.errors import BadInput
from tasks.records.chunk import Chunk
from tasks.records.formats import FORMATS
from tasks.records.json_text import Rows, too_long
from tasks.records.line import CARRIED_KEYS
from tasks.records.record import BadLine, excerpt
from tasks.records.sources import BLOCK, RemotePath, compression, opened, reachable

_LONE_CR = re.compile(rb"(?<=\r)(?!\n|\Z)")
_SEPARATORS = (",", ";", "\t", "|")


def parquet_rows(path: Path, chunk: Chunk, _: int) -> Rows:
    """Rows of Parquet."""
    import pyarrow as pa

    source = str(path)
    try:
        with parquet_file(path) as file:
            end = file.num_row_groups if chunk.size < 0 else chunk.start + chunk.size
            groups = list(range(chunk.start, end))
            number = chunk.first_line - 1
            for batch in file.iter_batches(batch_size=4096, row_groups=groups):
                for row in _rows(batch):
                    number += 1
                    yield number, _as_json(row, source, number)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not a readable Parquet file: {error}") from None


def parquet_chunks(path: Path, target: int) -> list[Chunk]:
    """Chunks of row groups: of together at most `target` unpacked bytes, or one."""
    import pyarrow as pa

    found: list[Chunk] = []
    first_line, start, rows_held, held = 1, 0, 0, 0
    try:
        with parquet_file(path) as file:
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
            sizes = [(group.num_rows, group.total_byte_size) for group in groups]
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not a readable Parquet file: {error}") from None
    for number, (group_rows, group_bytes) in enumerate(sizes):
        if number > start and held + group_bytes > target:
            found.append(Chunk(str(path), first_line, start, number - start))
            first_line, start, rows_held, held = first_line + rows_held, number, 0, 0
        rows_held += group_rows
        held += group_bytes
    if sizes:
        found.append(Chunk(str(path), first_line, start, len(sizes) - start))
    return found


@contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    """The file opened by pyarrow, whose exceptions pass."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if compression(path):
        raise BadInput(f"{path}: Parquet compresses itself; decompress the file first")
    if not isinstance(path, RemotePath):
        with pq.ParquetFile(path) as file:
            yield file
        return
    with (
        path.open() as store,
        reachable(path.url, pa.ArrowException),
        pq.ParquetFile(store) as file,
    ):
        yield file


def arrow_rows(path: Path, _: Chunk, __: int) -> Rows:
    """Rows of an Arrow file or stream, as `datasets` saves them to disk."""
    import pyarrow as pa

    source = str(path)
    number = 0
    try:
        with path.open("rb") as file:
            whole = file.read(6) == b"ARROW1"
        with path.open("rb") as file:
            read = pa.ipc.open_file(file) if whole else pa.ipc.open_stream(file)
            batches = map(read.get_batch, range(read.num_record_batches)) if whole else read
            for batch in batches:
                for row in _rows(batch):
                    number += 1
                    yield number, _as_json(row, source, number)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not a readable Arrow file: {error}") from None


def _rows(batch: Any) -> Iterator[dict[str, Any]]:
    """Rows as JSON has them: keys that a column of objects pads with null are not there."""
    for row in batch.to_pylist(maps_as_pydicts="lossy"):
        yield {name: _unpadded(value) for name, value in row.items()}


def _unpadded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unpadded(part) for name, part in value.items() if part is not None}
    return [_unpadded(part) for part in value] if isinstance(value, list) else value


def _as_json(row: Any, source: str, number: int) -> Any:
    """What the row would be as a line of JSON: a date is text, a NaN is null."""
    try:
        return orjson.loads(orjson.dumps([row], default=_plain))[0]
    except TypeError as error:
        return BadLine(source, number, "wrong_type", f"cannot be written as JSON: {error}")


def _plain(value: Any) -> Any:
    """What JSON has no form for: text that is stored as bytes is text, a decimal is its digits."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    return str(value)


def csv_rows(path: Path, _: Chunk, limit: int) -> Rows:
    """Rows of text with separators, by the names in the first row; empty fields are left out."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    source = str(path)
    with opened(path) as file:
        lines = _CsvLines(file, limit)
        reader = csv.reader(lines, delimiter=_separator(file))
        header: list[str] = []
        while True:
            lines.begin_row()
            try:
                row = next(reader, None)
            except _TooLong as long:
                bad = too_long(source, lines.number, long.size, limit, long.start)
                if not header:
                    raise BadInput(f"{path}: the header is too long: {bad.detail}") from None
                yield lines.number, bad
                continue
            if row is None:
                return
            if not header:
                if lines.not_utf8:
                    raise BadInput(f"{path}:{lines.number}: not UTF-8: save the file as UTF-8")
                header = _header(row, path)
            elif row:
                yield lines.number, _csv_row(row, header, lines, source)


def _separator(file: io.BufferedReader) -> str:
    """What separates the fields: as a first line `sep=;` says (which is read over), or the sign by
    which the header has most keys that are known, and most fields."""
    head = file.peek(BLOCK)[:BLOCK].lstrip(b"\r\n")
    first = head.split(b"\n", 1)[0].decode("utf-8", "replace").strip("\r")
    if first.lower().startswith("sep=") and len(first) == 5:
        file.readline()
        return first[4]

    known_keys = FORMATS.content_keys() | CARRIED_KEYS

    def known(separator: str) -> tuple[int, int]:
        try:
            names = next(csv.reader([first], delimiter=separator), [])
        except csv.Error:
            return 0, 0
        return sum(name.strip().lower() in known_keys for name in names), len(names)

    return max(_SEPARATORS, key=known)


def _header(row: list[str], path: Path) -> list[str]:
    """Names of the columns; those that differ from a known key by case and spaces only are that."""
    known = FORMATS.content_keys() | CARRIED_KEYS
    plain = [name.strip().lower() for name in row]
    names = [
        key if key in known and name not in known else name
        for name, key in zip(row, plain, strict=True)
    ]
    twice = next((name for i, name in enumerate(names) if name and name in names[:i]), None)
    if twice is not None:
        raise BadInput(f"{path}:1: two columns are named {twice!r}: rename one of them")
    return names


def _csv_row(row: list[str], header: list[str], lines: "_CsvLines", source: str) -> Any:
    if lines.not_utf8:
        reason, detail = "not_utf8", "the row is not UTF-8: save the file as UTF-8"
    elif lines.unclosed:
        reason, detail = "truncated", "a quote is still open where the file ends"
    elif len(row) > len(header):
        extra = len(row) - len(header)
        reason, detail = "wrong_type", f"{extra} more fields than the header names"
    else:
        return {name: text for name, text in zip(header, row, strict=False) if text}
    return BadLine(source, lines.number, reason, detail, excerpt(row))


class _TooLong(Exception):
    def __init__(self, size: int, start: bytes) -> None:
        super().__init__(size)
        self.size = size
        self.start = start


class _CsvLines:
    """Lines of text for the csv module, which takes as many as make a row.

    The state is the row's: its bytes so far, its quotes, whether it was UTF-8, and whether the
    file ended inside its quotes.
    """

    def __init__(self, file: io.BufferedReader, limit: int) -> None:
        self.number = 0
        self._file = file
        self._limit = limit
        self._pieces: list[bytes] = []
        self.begin_row()

    def begin_row(self) -> None:
        self.not_utf8 = self.unclosed = False
        self._size = self._quotes = 0

    def __iter__(self) -> "_CsvLines":
        return self

    def __next__(self) -> str:
        line = self._pieces.pop() if self._pieces else self._line()
        self.number += 1
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.not_utf8 = True
            return line.decode("utf-8", "replace")

    def _line(self) -> bytes:
        line = self._file.readline(self._limit + 1)
        if not line:
            self.unclosed = self._size > 0
            raise StopIteration
        self._size += len(line)
        self._quotes += line.count(b'"')
        if self._size - line.endswith(b"\n") > self._limit:
            self._skip_row(line)
        # A carriage return alone ends a line too, as in files of old.
        if b"\r" in line.removesuffix(b"\r\n"):
            self._pieces = _LONE_CR.split(line)[::-1]
            line = self._pieces.pop()
        return line

    def _skip_row(self, line: bytes) -> None:
        """Go on to the line end at which the quotes are paired."""
        start = line[:200]
        ended = False
        while line:
            ended = line.endswith(b"\n")
            self.number += ended
            if ended and self._quotes % 2 == 0:
                break
            line = self._file.readline(BLOCK)
            self._size += len(line)
            self._quotes += line.count(b'"')
        self.number += not ended
        raise _TooLong(self._size, start)
