"""Reading records: a whole file, or chunks of it that several workers share."""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tasks.core.errors import BadInput
from tasks.records.chunk import Chunk
from tasks.records.file_kinds import file_kind
from tasks.records.parsing import parse_json
from tasks.records.record import BadLine, Record
from tasks.records.sources import Damaged, expand, locate

MAX_LINE_BYTES = 16 * 2**20


def chunks(path: Path, target_bytes: int = 8 * 2**20) -> list[Chunk]:
    """Cut a file into chunks of about `target_bytes`, in order, each of which is read alone.

    JSON Lines are cut at the ends of lines, so one overlong line makes an overlong chunk; Parquet
    between row groups; other files are one chunk.

    Raises:
        BadInput: the file does not exist or is of no known kind, or it is Parquet and damaged.
    """
    try:
        return list(file_kind(path).chunks(path, target_bytes))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error}") from None


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
    for item in read_chunk(Chunk.whole(path), labelled=labelled, max_line_bytes=max_line_bytes):
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
        yield value if type(value) is BadLine else parse_json(value, chunk.path, line, labelled)


def values(path: Path, *, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[tuple[int, Any]]:
    """Number and decoded value of each line of a file, or a `BadLine` for it.

    Raises:
        BadInput: as `read`.
    """
    found = None
    for found in _values(Chunk.whole(path), max_line_bytes):
        yield found
    if found is None:
        raise BadInput(f"{path}: holds no record; remove it from the inputs or fill it")


def _values(chunk: Chunk, max_line_bytes: int) -> Iterator[tuple[int, Any]]:
    path = locate(chunk.path)
    line = chunk.first_line - 1
    found = False
    try:
        for line, value in file_kind(path).rows(path, chunk, max_line_bytes):
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
    """The decoded line, element or row of this number, before it became a record.

    Raises:
        BadInput: the chunk cannot be read, or has no such line.
    """
    path = locate(chunk.path)
    try:
        for number, value in file_kind(path).rows(path, chunk, max_line_bytes):
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
                    "correct the line, or run `perpetune curate`, which drops and lists such lines"
                )
            records.append(item)
    return records
