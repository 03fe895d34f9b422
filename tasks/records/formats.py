"""The rows of a file of each format, one by one: no file and no overlong line is held whole."""

from pathlib import Path

from tasks.core.errors import BadInput
from tasks.records.json_text import Rows, json_array, json_lines, json_objects, layout
from tasks.records.places import FORMATS, OTHER_DATA, RemotePath, is_plain, kind
from tasks.records.tables import arrow, csv_rows, parquet

_JSON = (".jsonl", ".ndjson", ".json")


def rows(path: Path, first_line: int, start: int, size: int, limit: int) -> Rows:
    """Lines (or elements, or rows) with their numbers: decoded JSON values, or `BadLine`s.

    Args:
        path: the file; its name tells the format, and its beginning how JSON is laid out.
        first_line: number of the first line.
        start: first byte of JSON Lines (which is a line's first), first row group of Parquet.
        size: how many bytes or row groups, -1 for all.
        limit: bytes of a line, element or row above which it is skipped as `too_long_line`.

    Raises:
        BadInput: the file as a whole is unfit.
        Damaged: the rest of it cannot be read.
    """
    form = kind(path)
    if form in _JSON:
        # A part of a file is one of lines.
        laid_out = "lines" if size >= 0 else layout(path)
        if laid_out == "array":
            return json_array(path, limit)
        if laid_out == "objects":
            return json_objects(path, limit)
        return json_lines(path, first_line, start, size, limit)
    if form == ".parquet":
        return parquet(path, first_line, start, size)
    if form == ".arrow":
        return arrow(path)
    if form in (".csv", ".tsv"):
        return csv_rows(path, limit)
    remedy = ""
    if path.suffix.lower() in OTHER_DATA:
        remedy = ": save it as CSV (UTF-8) or as JSON Lines"
    raise BadInput(
        f"{path}: unknown format{remedy}; expected {', '.join(FORMATS)}, or one of them with .gz "
        "or .zst"
    )


def has_lines(path: Path) -> bool:
    """Whether a file is plain JSON Lines on this machine, which can be cut at the ends of lines."""
    return (
        kind(path) in _JSON
        and not isinstance(path, RemotePath)
        and is_plain(path)
        and layout(path) == "lines"
    )
