"""The kinds of files that records are read from, by suffix: their rows, and how they are cut."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tasks.core.errors import BadInput
from tasks.records.chunk import Chunk
from tasks.records.json_text import Rows, json_chunks, json_rows
from tasks.records.sources import OTHER_DATA, SUFFIXES, suffix
from tasks.records.tables import arrow_rows, csv_rows, parquet_chunks, parquet_rows


def _one_chunk(path: Path, _: int) -> Iterable[Chunk]:
    return [Chunk.whole(path)]


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file.

    Attributes:
        suffixes: of its names, below a compression's; all kinds together are
            `tasks.records.sources.SUFFIXES`.
        rows: gives the lines (or elements, or rows) of a chunk of the file at a path, with their
            numbers: decoded JSON values, or `BadLine`s, as for what is longer than a limit in
            bytes. No file and no overlong line is held whole. Raises `BadInput` where the file is
            unfit, `Damaged` where the rest of it cannot be read.
        chunks: cuts the file at a path into chunks of about so many bytes.
    """

    suffixes: tuple[str, ...]
    rows: Callable[[Path, Chunk, int], Rows]
    chunks: Callable[[Path, int], Iterable[Chunk]] = _one_chunk


FILE_KINDS = (
    FileKind((".jsonl", ".ndjson", ".json"), json_rows, json_chunks),
    FileKind((".parquet",), parquet_rows, parquet_chunks),
    FileKind((".arrow",), arrow_rows),
    FileKind((".csv", ".tsv"), csv_rows),
)


def file_kind(path: Path) -> FileKind:
    """The kind of a file, by its name.

    Raises:
        BadInput: it is of none.
    """
    found = suffix(path)
    for kind in FILE_KINDS:
        if found in kind.suffixes:
            return kind
    remedy = ""
    if path.suffix.lower() in OTHER_DATA:
        remedy = ": save it as CSV (UTF-8) or as JSON Lines"
    raise BadInput(
        f"{path}: unknown format{remedy}; expected {', '.join(SUFFIXES)}, or one of them with .gz "
        "or .zst"
    )
