"""The rows of a file of each format, one by one: no file and no overlong line is held whole."""

import csv
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from tasks.errors import BadInput
from tasks.records.places import (
    BLOCK,
    FORMATS,
    Damaged,
    RemotePath,
    compression,
    kind,
    opened,
    reachable,
)
from tasks.records.record import BadLine, excerpt

Rows = Iterator[tuple[int, Any]]
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
# orjson reads 1024 levels and writes 254; a line with fewer brackets needs no second look.
_SURELY_SHALLOW = 200
# What stands before the next bracket (or comma) outside of whole strings.
_BEFORE_COMMA = re.compile(rb'[^",\[\]{}]*(?:"[^"]*"[^",\[\]{}]*)*')
_BEFORE_BRACKET = re.compile(rb'[^"\[\]{}]*(?:"[^"]*"[^"\[\]{}]*)*')
_LONE_CR = re.compile(rb"(?<=\r)(?!\n|\Z)")


def rows(path: Path, first_line: int, start: int, size: int, limit: int) -> Rows:
    """Lines (or elements, or rows) with their numbers: decoded JSON values, or `BadLine`s.

    Args:
        path: the file; its name tells the format.
        first_line: number of the first line.
        start: first byte of JSONL (which lies at a line's start), first row group of Parquet.
        size: how many bytes or row groups, -1 for all.
        limit: bytes of a line, element or row above which it is skipped as `too_long_line`.

    Raises:
        BadInput: the file as a whole is unfit.
        Damaged: the rest of it cannot be read.
    """
    form = kind(path)
    if form in (".jsonl", ".ndjson"):
        return _json_lines(path, first_line, start, size, limit)
    if form == ".json":
        return _json_array(path, limit)
    if form == ".parquet":
        return _parquet(path, first_line, start, size)
    if form == ".csv":
        return _csv(path, limit)
    raise BadInput(
        f"{path}: unknown format; expected {', '.join(FORMATS)}, or one of them with .gz or .zst"
    )


def decode(data: bytes | bytearray, source: str, number: int) -> Any:
    """One JSON value that can be written again, or a `BadLine`."""
    try:
        value = orjson.loads(data)
        if data.count(b"[") + data.count(b"{") > _SURELY_SHALLOW:
            # A row nests the value's parts one deeper, under `meta`.
            orjson.dumps([value])
        return value
    except orjson.JSONDecodeError as error:
        shown = data[:200].decode("utf-8", "replace")
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as broken:
            detail = f"byte {broken.start} is not UTF-8: save the file as UTF-8"
            return BadLine(source, number, "not_utf8", detail, shown)
        reason = "not_utf8" if "surrogate" in str(error) else "invalid_json"
        return BadLine(source, number, reason, str(error), shown)
    except TypeError as error:
        return BadLine(source, number, "wrong_type", f"cannot be written as JSON: {error}")


def _too_long(source: str, number: int, size: int, limit: int, start: bytes) -> BadLine:
    detail = f"{size} bytes; at most {limit} are read: split it, or raise the limit"
    shown = start[:200].decode("utf-8", "replace")
    return BadLine(source, number, "too_long_line", detail, shown)


def _json_lines(path: Path, first_line: int, start: int, size: int, limit: int) -> Rows:
    source = str(path)
    number = first_line - 1
    end = start + size if size >= 0 else sys.maxsize
    with opened(path) as file:
        if start:
            file.seek(start)
        readline = file.readline
        while start < end:
            line = readline(limit + 1)
            number += 1
            if not line:
                if size >= 0:
                    raise BadInput(f"{path}: became shorter while it was read; run again")
                return
            start += len(line)
            if len(line) > limit and line[-1] != 10:
                skipped = _skip_line(file)
                start += skipped
                yield number, _too_long(source, number, len(line) + skipped, limit, line)
                continue
            if number == 1:
                line = line.removeprefix(_BOM)
            line = line.strip(_BLANK)
            if line:
                yield number, decode(line, source, number)


def _skip_line(file: io.BufferedReader) -> int:
    """Read to the end of the line, holding little; returns how many bytes that were."""
    skipped = 0
    while part := file.readline(BLOCK):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def _json_array(path: Path, limit: int) -> Rows:
    source = str(path)
    with opened(path) as file:
        head = file.read(len(_BOM)).removeprefix(_BOM)
        while not (head := head.lstrip(_BLANK)):
            head = file.read1(BLOCK)
            if not head:
                return
        if not head.startswith(b"["):
            raise BadInput(
                f"{path}: expected a JSON array in UTF-8, found {head[:20]!r}; "
                "a file of one record a line is named .jsonl"
            )
        for number, (element, size) in enumerate(_elements(file, head[1:], limit), start=1):
            if size > limit:
                yield number, _too_long(source, number, size, limit, element)
            else:
                yield number, decode(element, source, number)


def _elements(file: io.BufferedReader, head: bytes, limit: int) -> Iterator[tuple[bytes, int]]:
    """Bytes and size of each element of the array whose `[` stands before `head`.

    Only strings and brackets are followed, and orjson judges each element: so a bad one spoils no
    other, and all are what a line of JSON would be (ijson turns lone surrogates into other
    characters and stops at large integers). Of an overlong element the beginning is given.
    """
    held = bytearray()  # from the element's start, or from where it was cut off
    marks = bytearray()  # the same with escapes blotted out, so that every quote is a string's
    block, odd = head, b""
    start, cut, first = b"", 0, True
    at, depth, in_string = 0, 1, False
    while True:
        block = odd + block
        # The escape that the block's end splits waits for the next block.
        odd = b"\\" * ((len(block) - len(block.rstrip(b"\\"))) % 2)
        block = block.removesuffix(odd)
        held += block
        marks += block.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        while (mark := _next_mark(marks, at, depth, in_string)) >= 0:
            at = mark + 1
            sign = marks[mark]
            if sign in b'"':
                in_string = not in_string
            elif sign in b"[{":
                depth += 1
            elif sign in b"]}" and depth > 1:
                depth -= 1
            elif sign in b",]":
                if sign in b"," or not first or cut or held[:mark].strip(_BLANK):
                    yield start or bytes(held[:mark]), cut + mark
                del held[:at], marks[:at]
                if sign in b"]":
                    return _nothing_else(file, held + odd)
                start, cut, at, first = b"", 0, 0, False
        at = len(held)
        if at > limit:
            start = start or bytes(held[:200])
            cut += at
            del held[:], marks[:]
            at = 0
        block = file.read1(BLOCK)
        if not block:
            if not cut and _is_json(held):
                yield bytes(held), len(held)
            raise Damaged("invalid_json", "the file ends before the array does")


def _next_mark(marks: bytearray, at: int, depth: int, in_string: bool) -> int:
    """Where the next byte stands that matters to the structure, or -1."""
    if in_string:
        return marks.find(b'"', at)
    skipped = (_BEFORE_COMMA if depth == 1 else _BEFORE_BRACKET).match(marks, at)
    end = skipped.end() if skipped else at
    return end if end < len(marks) else -1


def _is_json(data: bytearray) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _nothing_else(file: io.BufferedReader, rest: bytes | bytearray) -> None:
    while not (rest := rest.lstrip(_BLANK)):
        rest = file.read1(BLOCK)
        if not rest:
            return
    raise Damaged("invalid_json", f"after the end of the array stands {bytes(rest[:20])!r}")


def _parquet(path: Path, first_line: int, start: int, size: int) -> Rows:
    import pyarrow as pa

    source = str(path)
    try:
        with parquet_file(path) as file:
            end = file.num_row_groups if size < 0 else start + size
            number = first_line - 1
            for batch in file.iter_batches(batch_size=4096, row_groups=list(range(start, end))):
                for row in batch.to_pylist():
                    number += 1
                    yield number, _as_json(row, source, number)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not a readable Parquet file: {error}") from None


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


def _as_json(row: Any, source: str, number: int) -> Any:
    """What the row would be as a line of JSON: a date is text, a NaN is null."""
    try:
        return orjson.loads(orjson.dumps([row]))[0]
    except TypeError as error:
        return BadLine(source, number, "wrong_type", f"cannot be written as JSON: {error}")


def _csv(path: Path, limit: int) -> Rows:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    source = str(path)
    with opened(path) as file:
        lines = _CsvLines(file, limit)
        reader = csv.reader(lines)
        header: list[str] = []
        while True:
            lines.begin_row()
            try:
                row = next(reader, None)
            except _TooLong as long:
                bad = _too_long(source, lines.number, long.size, limit, long.start)
                if not header:
                    raise BadInput(f"{path}: the header is too long: {bad.detail}") from None
                yield lines.number, bad
                continue
            if row is None:
                return
            if not header:
                if lines.not_utf8:
                    raise BadInput(f"{path}:{lines.number}: not UTF-8: save the file as UTF-8")
                header = row
            elif row:
                yield lines.number, _csv_row(row, header, lines, source)


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
        if self.number == 0:
            line = line.removeprefix(_BOM)
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
