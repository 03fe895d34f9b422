"""Files that people filled in, whatever their form."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from tasks.core.errors import BadInput
from tasks.label.files import FILE_FORMS
from tasks.label.files.csv import unshielded
from tasks.label.values import Filled

_TABLES = (".csv", ".tsv")
_EXPECTED = (
    "expected what `perpetune label --budget` wrote, filled in (JSONL, CSV), or an export of Label "
    "Studio (JSON) or Argilla (`records.to_json`)"
)


def read_filled(path: Path) -> list[Filled]:
    """The answers in a file, those left empty too, in its order.

    Raises:
        BadInput: the file is missing, or no such file; the message names the line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None
    text = _decoded(data, path)
    items = _table(text, path) if path.suffix.lower() in _TABLES else _json(text, path)
    forms = list(FILE_FORMS)
    found: list[Filled] = []
    for place, item in items:
        if not isinstance(item, Mapping):
            raise BadInput(f"{place}: {_EXPECTED}; found {type(item).__name__}")
        for form in forms:
            try:
                filled = form.read(item)
            except (AttributeError, TypeError, ValueError, LookupError) as error:
                raise BadInput(f"{place}: not as {form.name} writes it: {error}") from None
            if filled is not None:
                found += [one.model_copy(update={"place": place}) for one in filled]
                break
        else:
            keys = ", ".join(map(str, item)) or "nothing"
            raise BadInput(f"{place}: {_EXPECTED}; found the keys {keys[:200]}")
    if not found:
        raise BadInput(f"{path}: holds no row; {_EXPECTED}")
    return found


def _decoded(data: bytes, path: Path) -> str:
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadInput(
            f"{path}:{line}: not UTF-8; save it as UTF-8 (in Excel: “CSV UTF-8”)"
        ) from None


def _table(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    """Rows of a table; spreadsheets may have changed commas into semicolons or tabs."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader, [])]
        if missing := {"row", "answer"} - set(header):
            raise BadInput(f"{path}:1: no column {' and '.join(sorted(missing))}; {_EXPECTED}")
        end = reader.line_num
        for cells in reader:
            line, end = end + 1, reader.line_num
            if not any(cells):
                continue
            if len(cells) > len(header):
                raise BadInput(f"{path}:{line}: {len(cells)} cells, the table has {len(header)}")
            yield f"{path}:{line}", dict(zip(header, map(unshielded, cells), strict=False))
    except csv.Error as error:
        raise BadInput(f"{path}:{reader.line_num}: no CSV: {error}") from None


def _json(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    if text.lstrip().startswith("["):
        for number, item in enumerate(_parsed(text, str(path)), 1):
            yield f"{path}, element {number}", item
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{path}:{number}", _parsed(line, f"{path}:{number}")


def _parsed(text: str, place: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"{place}: no JSON: {error}") from None
