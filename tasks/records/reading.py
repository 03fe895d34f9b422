"""Reading records: a whole file, or chunks of it that several workers share."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core.errors import BadInput
from tasks.records.formats import has_lines, rows
from tasks.records.forms import from_json
from tasks.records.places import BLOCK, Damaged, expand, kind, locate
from tasks.records.record import BadLine, Record
from tasks.records.tables import parquet_file

MAX_LINE_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a file that can be read on its own.

    Of plain local JSON Lines: `size` bytes from byte `start`, whole lines, the first of which has
    the number `first_line`. Of Parquet: `size` row groups from row group `start`. Of any other
    format the whole file: `start` 0, `size` -1.
    """

    path: str
    first_line: int
    start: int
    size: int


def chunks(path: Path, target_bytes: int = 8 * 2**20) -> list[Chunk]:
    """Cut a file into chunks of about `target_bytes`, in order, at the ends of lines.

    A chunk ends with the first line that makes it `target_bytes` long, so one overlong line makes
    an overlong chunk. A Parquet chunk holds row groups of together at most `target_bytes` unpacked
    bytes, or one. The file is read once, in blocks; an empty one has no chunk.

    Raises:
        BadInput: the file does not exist or is of no known format, or it is Parquet and damaged.
    """
    if kind(path) == ".parquet":
        return _row_group_chunks(path, target_bytes)
    try:
        if not has_lines(path):
            return [Chunk(str(path), 1, 0, -1)]
        return list(_line_chunks(path, max(target_bytes, 1)))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error}") from None


def _line_chunks(path: Path, target: int) -> Iterator[Chunk]:
    block = bytearray(BLOCK)
    name = str(path)
    start, first_line, newlines = 0, 1, 0
    place = 0  # of the block in the file
    with path.open("rb", buffering=0) as file:
        while filled := file.readinto(block):
            begin = 0
            while True:
                # The first line end that makes the chunk long enough.
                enough = max(start + target - 1 - place, begin)
                end = block.find(b"\n", enough, filled) + 1 if enough < filled else 0
                if not end:
                    break
                newlines += block.count(b"\n", begin, end)
                yield Chunk(name, first_line, start, place + end - start)
                start, first_line, newlines, begin = place + end, first_line + newlines, 0, end
            newlines += block.count(b"\n", begin, filled)
            place += filled
    if place > start:
        yield Chunk(name, first_line, start, place - start)


def _row_group_chunks(path: Path, target: int) -> list[Chunk]:
    import pyarrow as pa

    found: list[Chunk] = []
    first_line, start, rows_held, held = 1, 0, 0, 0
    try:
        with parquet_file(path) as file:
            groups = [file.metadata.row_group(n) for n in range(file.num_row_groups)]
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


def read(
    path: Path, *, labelled: bool = True, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[Record | BadLine]:
    """Stream the records of one file, in order; a line that is none comes as a `BadLine`.

    Args:
        path: JSONL, a JSON array, Parquet or CSV; `.gz` and `.zst` are read through.
        labelled: a chat without an answer is a `BadLine` (false: traffic without labels is fine).
        max_line_bytes: a longer line, element or CSV row is a `BadLine`, never held in memory.

    Raises:
        BadInput: the file does not exist, is of no known format, empty, or nothing of it can be
            read. Of a file that breaks off the last item is a `BadLine` for the rest.
    """
    item = None
    whole = Chunk(str(path), 1, 0, -1)
    for item in read_chunk(whole, labelled=labelled, max_line_bytes=max_line_bytes):
        yield item
    if item is None:
        raise BadInput(f"{path}: holds no record; remove it from the inputs or fill it")


def read_chunk(
    chunk: Chunk, *, labelled: bool = True, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[Record | BadLine]:
    """Stream a chunk's part of `read`: all chunks in order give what the whole file gives.

    Raises:
        BadInput: as `read`, except that a chunk may hold no record.
    """
    for line, value in _values(chunk, max_line_bytes):
        yield value if type(value) is BadLine else from_json(value, chunk.path, line, labelled)


def values(path: Path, *, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[tuple[int, Any]]:
    """Number and decoded value of each line of a file, or a `BadLine` for it.

    Raises:
        BadInput: as `read`.
    """
    found = None
    for found in _values(Chunk(str(path), 1, 0, -1), max_line_bytes):
        yield found
    if found is None:
        raise BadInput(f"{path}: holds no record; remove it from the inputs or fill it")


def _values(chunk: Chunk, max_line_bytes: int) -> Iterator[tuple[int, Any]]:
    path = locate(chunk.path)
    line = chunk.first_line - 1
    found = False
    try:
        for line, value in rows(path, chunk.first_line, chunk.start, chunk.size, max_line_bytes):
            found = True
            yield line, value
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except Damaged as damage:
        if not found:
            raise BadInput(f"{path}: cannot be read: {damage}") from None
        detail = f"the rest of the file cannot be read: {damage}"
        yield line + 1, BadLine(chunk.path, line + 1, damage.reason, detail)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from None


def original(chunk: Chunk, line: int, *, max_line_bytes: int = MAX_LINE_BYTES) -> Any:
    """The decoded line, element or row of this number, as it stood before it became a record.

    Raises:
        BadInput: the chunk cannot be read, or has no such line.
    """
    path = locate(chunk.path)
    try:
        for number, value in rows(path, chunk.first_line, chunk.start, chunk.size, max_line_bytes):
            if number == line:
                return value
    except (Damaged, OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from None
    raise BadInput(f"{path}:{line}: no such line")


def load(specs: Iterable[str | Path], *, labelled: bool = True) -> list[Record]:
    """All records of these files, where every line has to be one.

    Raises:
        BadInput: as `expand` and `read`, and for the first line that is no record.
    """
    records = []
    for path in expand(specs):
        for item in read(path, labelled=labelled):
            if isinstance(item, BadLine):
                raise BadInput(
                    f"{item.source}:{item.line}: {item.reason}: {item.detail}; "
                    "mend the line, or run `perpetune curate`, which drops and lists such lines"
                )
            records.append(item)
    return records
