"""Values of JSON in a file: one a line, an array, one after another, or all in one object."""

import io
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import orjson

from tasks.core.errors import BadInput
from tasks.records.chunk import Chunk
from tasks.records.record import BadLine
from tasks.records.sources import BLOCK, Damaged, RemotePath, is_plain, opened

Rows = Iterator[tuple[int, Any]]
Layout = Literal["lines", "array", "objects"]

MOST_AT_ONCE = 2**29
"""Bytes of a file that has to be held whole."""

_BLANK = b" \t\r\n"
# orjson reads 1024 levels and writes 254; a line with fewer brackets needs no second look.
_SURELY_SHALLOW = 200
# What is before the next bracket (or comma) outside of whole strings.
_BEFORE_COMMA = re.compile(rb'[^",\[\]{}]*(?:"[^"]*"[^",\[\]{}]*)*')
_BEFORE_BRACKET = re.compile(rb'[^"\[\]{}]*(?:"[^"]*"[^"\[\]{}]*)*')
_LISTS = ("data", "rows", "records", "examples", "instances", "items", "samples")
"""Keys under which an object holds a list of records."""


def layout(path: Path) -> Layout:
    """How the values of a file of JSON follow one another, by its beginning.

    `lines` is one value a line, `array` an array of values; `objects` are values on several lines
    each, or one object that holds them all.

    Raises:
        BadInput: a `.json` file begins neither an array nor an object.
    """
    with opened(path) as file:
        begun = file.peek(BLOCK)
        more = len(begun) >= BLOCK // 2
        head = begun.lstrip(_BLANK)
    is_json = ".json" in [suffix.lower() for suffix in path.suffixes]
    if head[:1] == b"[":
        return "array" if is_json or _begins_array(head, more) else "lines"
    if head[:1] == b"{":
        return _layout_of_objects(head, is_json, more)
    if head and is_json:
        raise BadInput(f"{path}: expected a JSON array in UTF-8, found {head[:20]!r}")
    return "lines"


def _begins_array(head: bytes, more: bool) -> bool:
    """Whether lines that begin with `[` are those of one array of objects."""
    first, _, rest = head.partition(b"\n")
    if isinstance(found := _loaded(first), list):
        return not rest.strip(_BLANK) and all(isinstance(value, dict) for value in found)
    element = head[1:].lstrip(_BLANK)
    return element.startswith(b"{") and (more or _value_end(element) > 0)


def _layout_of_objects(head: bytes, is_json: bool, more: bool) -> Layout:
    first, _, rest = head.partition(b"\n")
    if _loaded(first) is not None:
        return "objects" if is_json and not rest.strip(_BLANK) and not more else "lines"
    if is_json or (more and first.rstrip(_BLANK)[-1:] in (b"{", b"[", b",")):
        return "objects"
    return "objects" if _value_end(head) > len(first) else "lines"


def _value_end(head: bytes) -> int:
    """Where the value ends that the bytes begin with; 0 where they begin with none."""
    try:
        _, end = json.JSONDecoder().raw_decode(text := head.decode("utf-8", "ignore"))
    except (ValueError, RecursionError):
        return 0
    return len(text[:end].encode())


def _loaded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def decode(data: bytes | bytearray, source: str, number: int) -> Any:
    """One JSON value that can be written again, or a `BadLine`."""
    try:
        value = orjson.loads(data)
        if data.count(b"[") + data.count(b"{") > _SURELY_SHALLOW:
            # A row nests the value's parts one deeper, under `meta`.
            orjson.dumps([value])
        return value
    except orjson.JSONDecodeError as error:
        if (value := _without_nan(data)) is not None:
            return value
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


def _without_nan(data: bytes | bytearray) -> Any:
    """The value of JSON as Python writes it: NaN is null; other numbers that JSON lacks are text.

    None where something else is wrong with it.
    """

    def number(text: str) -> Any:
        value = float(text)
        return value if math.isfinite(value) else text

    def constant(text: str) -> Any:
        return None if text == "NaN" else text

    try:
        # Of bytes it would guess the encoding.
        value = json.loads(data.decode(), parse_constant=constant, parse_float=number)
        orjson.dumps([value])
    except (ValueError, TypeError, RecursionError):
        return None
    return value


def too_long(source: str, number: int, size: int, limit: int, start: bytes) -> BadLine:
    """A line (or element, or row) of more bytes than are read; `start` is its beginning."""
    detail = f"{size} bytes; at most {limit} are read: split it, or raise the limit"
    shown = start[:200].decode("utf-8", "replace")
    return BadLine(source, number, "too_long_line", detail, shown)


def json_rows(path: Path, chunk: Chunk, limit: int) -> Rows:
    """The values of a file of JSON, in whichever layout."""
    # A part of a file is a part of its lines.
    laid_out = "lines" if chunk.size >= 0 else layout(path)
    if laid_out == "array":
        return json_array(path, limit)
    if laid_out == "objects":
        return json_objects(path, limit)
    return json_lines(path, chunk, limit)


def json_chunks(path: Path, target: int) -> Iterable[Chunk]:
    """Chunks of lines; a file that is not plain JSON Lines on this machine is one.

    A chunk ends with the first line that makes it `target` bytes long. The file is read once, in
    blocks; an empty one has no chunk.
    """
    if isinstance(path, RemotePath) or not is_plain(path) or layout(path) != "lines":
        return [Chunk.whole(path)]
    return _line_chunks(path, max(target, 1))


def _line_chunks(path: Path, target: int) -> Iterator[Chunk]:
    block = bytearray(BLOCK)
    name = str(path)
    start, first_line, newlines = 0, 1, 0
    offset = 0  # of the block in the file
    with path.open("rb", buffering=0) as file:
        while filled := file.readinto(block):
            begin = 0
            while True:
                # The first line end that makes the chunk long enough.
                enough = max(start + target - 1 - offset, begin)
                end = block.find(b"\n", enough, filled) + 1 if enough < filled else 0
                if not end:
                    break
                newlines += block.count(b"\n", begin, end)
                yield Chunk(name, first_line, start, offset + end - start)
                start, first_line, newlines, begin = offset + end, first_line + newlines, 0, end
            newlines += block.count(b"\n", begin, filled)
            offset += filled
    if offset > start:
        yield Chunk(name, first_line, start, offset - start)


def json_lines(path: Path, chunk: Chunk, limit: int) -> Rows:
    """Values of one line each."""
    source = str(path)
    start, size = chunk.start, chunk.size
    number = chunk.first_line - 1
    end = start + size if size >= 0 else sys.maxsize
    with opened(path) as file:
        if start:
            file.seek(start)
        elif size >= 0:
            start = file.tell()  # behind a byte order mark
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
                yield number, too_long(source, number, len(line) + skipped, limit, line)
                continue
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


def json_array(path: Path, limit: int) -> Rows:
    """Elements of an array."""
    source = str(path)
    with opened(path) as file:
        head = b""
        while not (head := head.lstrip(_BLANK)):
            head = file.read1(BLOCK)
            if not head:
                return
        for number, (element, size) in enumerate(_elements(file, head[1:], limit), start=1):
            if size > limit:
                yield number, too_long(source, number, size, limit, element)
            else:
                yield number, decode(element, source, number)


def json_objects(path: Path, limit: int) -> Rows:
    """Values on several lines each, one after another; or those that one object holds."""
    source = str(path)
    with opened(path) as file:
        data = file.read(MOST_AT_ONCE + 1)
    if len(data) > MOST_AT_ONCE:
        raise BadInput(
            f"{path}: more than {MOST_AT_ONCE:,} bytes of JSON that is not one record a line: "
            f"write it as JSON Lines (`jq -c . {path.name} > records.jsonl`)"
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as broken:
        raise Damaged(
            "not_utf8", f"byte {broken.start} is not UTF-8: save the file as UTF-8"
        ) from None
    ends = list(_ends(text))
    if len(ends) == 1 and (table := _rows_of(decode(data, source, 1))) is not None:
        yield from enumerate(table, start=1)
        return
    begin = 0
    for number, end in enumerate(ends, start=1):
        value = text[begin:end].strip().encode()
        begin = end
        if len(value) > limit:
            yield number, too_long(source, number, len(value), limit, value)
        else:
            yield number, decode(value, source, number)
    if text[begin:].strip():
        raise Damaged("invalid_json", f"no JSON value: {text[begin:].strip()[:40]!r}")


def _ends(text: str) -> Iterator[int]:
    """Where each of the values ends, up to the first that is not JSON."""
    decoder = json.JSONDecoder()
    blank = re.compile(r"[ \t\r\n]*")
    end = 0
    while (start := blank.match(text, end).end()) < len(text):  # type: ignore[union-attr]
        try:
            _, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            return
        yield end


def _rows_of(value: Any) -> list[Any] | None:
    """The records that one object holds: under a key, or as pandas' `split`, `columns`, `index`.

    None where the object is itself one record, or nothing of the kind.
    """
    if not isinstance(value, dict) or not value:
        return None
    if set(value) <= {"columns", "index", "data"} and {"columns", "data"} <= set(value):
        return [dict(zip(value["columns"], row, strict=False)) for row in value["data"]]
    for name in _LISTS:
        rows = value.get(name)
        if isinstance(rows, list) and rows and all(isinstance(row, Mapping) for row in rows):
            # As the data set viewer of a hub gives them.
            return [row["row"] if set(row) >= {"row", "row_idx"} else row for row in rows]
    parts = list(value.values())
    if not all(isinstance(part, dict) for part in parts):
        return None
    numbered = [part.keys() for part in (value, *parts) if all(map(str.isdigit, part))]
    if numbered[:1] == [value.keys()]:
        return parts
    if len(numbered) == len(parts) and all(keys == numbered[0] for keys in numbered):
        return [{name: value[name][key] for name in value} for key in numbered[0]]
    return None


def _elements(file: io.BufferedReader, head: bytes, limit: int) -> Iterator[tuple[bytes, int]]:
    """Bytes and size of each element of the array whose `[` is before `head`.

    Only strings and brackets are followed, and orjson judges each element: so a bad one spoils no
    other, and all are what a line of JSON would be (ijson turns lone surrogates into other
    characters and stops at large integers). Of an overlong element the beginning is given.

    Example: the file is read in blocks of eight bytes, here after its `[`. Escapes are replaced in
    a copy, the marks, so that every quote there begins or ends a string::

        block       {"a":"\\",    ends within the string
        held        {"a":"\\",    of the element that has begun
        marks       {"a":"__,    the quote belongs to the escape
        depth       1 → 2 at {   the array is at depth 1
        block       "},5]        the string ends, then } back to depth 1, then a comma there
        held        {"a":"\\","}  → the first element, 10 bytes
        held        5            up to the ], → the second element, and the array's end
    """
    held = bytearray()  # from the element's start, or from where it was cut off
    marks = bytearray()  # the same with escapes replaced, so that every quote is a string's
    block, split_escape = head, b""
    start, cut, first = b"", 0, True
    position, depth, in_string = 0, 1, False
    while True:
        block = split_escape + block
        # The escape that the block's end splits waits for the next block.
        split_escape = b"\\" * ((len(block) - len(block.rstrip(b"\\"))) % 2)
        block = block.removesuffix(split_escape)
        held += block
        marks += block.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        while (mark := _next_mark(marks, position, depth, in_string)) >= 0:
            position = mark + 1
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
                del held[:position], marks[:position]
                if sign in b"]":
                    return _nothing_else(file, held + split_escape)
                start, cut, position, first = b"", 0, 0, False
        position = len(held)
        if position > limit:
            start = start or bytes(held[:200])
            cut += position
            del held[:], marks[:]
            position = 0
        block = file.read1(BLOCK)
        if not block:
            if not cut and _is_json(held):
                yield bytes(held), len(held)
            raise Damaged("invalid_json", "the file ends before the array does")


def _next_mark(marks: bytearray, position: int, depth: int, in_string: bool) -> int:
    """Position of the next byte that matters to the structure, or -1."""
    if in_string:
        return marks.find(b'"', position)
    skipped = (_BEFORE_COMMA if depth == 1 else _BEFORE_BRACKET).match(marks, position)
    end = skipped.end() if skipped else position
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
    raise Damaged("invalid_json", f"found {bytes(rest[:20])!r} after the end of the array")
