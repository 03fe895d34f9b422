"""The record that every step passes on, and the formats that it is read from.

One line of a user's file becomes one `Record` or one `BadLine`; nothing is skipped but blank lines.
Three shapes of content exist: a chat (`messages`), a text (`text`), a preference (`prompt`,
`chosen`, `rejected`). `prompt`/`completion`, `instruction`/`output` and `conversations` are read as
chats, so that every later step knows one shape for each.
"""

import csv
import glob
import gzip
import hashlib
import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from tasks.errors import BadInput

FORMATS = (".jsonl", ".ndjson", ".json", ".parquet", ".csv")
_COMPRESSED = (".gz", ".zst")
_ROLES = {"system", "developer", "user", "assistant", "tool"}
_SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One example, with the place that it came from.

    `content` holds exactly one shape: `{"messages": [...]}`, `{"text": ...}` or
    `{"prompt", "chosen", "rejected"}`. `source` and `line` (counted from 1) say where the record
    was read just now; `origin` where it was read first, when it has been through curation before.
    """

    id: str
    content: dict[str, Any]
    source: str
    line: int
    group: str | None = None
    timestamp: str | int | float | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    origin: tuple[str, int] | None = None

    @property
    def prompt(self) -> str:
        """What the model is given: the user's last turn, the preference's prompt, or a text."""
        if "messages" in self.content:
            turns = [m["content"] for m in self.content["messages"] if m["role"] == "user"]
            return turns[-1] if turns else ""
        return self.content.get("prompt") or self.content.get("text", "")

    @property
    def completion(self) -> str | None:
        """What the model should say: the assistant's last turn or the chosen answer, if any."""
        if "messages" in self.content:
            last = self.content["messages"][-1]
            return last["content"] if last["role"] == "assistant" else None
        return self.content.get("chosen")

    @property
    def text(self) -> str:
        """Everything that the record says, turn by turn, for comparing and measuring."""
        if "messages" in self.content:
            return "\n".join(m["content"] for m in self.content["messages"])
        return "\n".join(str(part) for part in self.content.values())

    def row(self) -> dict[str, Any]:
        """The record as it is written: its content under its own keys, then where it came from."""
        source, line = self.origin or (self.source, self.line)
        row: dict[str, Any] = {"id": self.id, **self.content}
        if self.group is not None:
            row["group"] = self.group
        if self.timestamp is not None:
            row["timestamp"] = self.timestamp
        return row | {"meta": self.meta, "source": source, "line": line}


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no record: `reason` is one of `invalid_json`, `not_utf8`, `wrong_type`,
    `missing_field`; `detail` says what was found and what is wanted."""

    source: str
    line: int
    reason: str
    detail: str
    excerpt: str = ""


def expand(specs: Iterable[str | Path]) -> list[Path]:
    """Files behind paths, folders (every file of a known format below them) and globs, sorted.

    Raises:
        BadInput: a path does not exist, or a folder or glob holds no file of a known format.
    """
    found: dict[Path, None] = {}
    for spec in specs:
        path = Path(spec)
        if path.is_file():
            found[path] = None
            continue
        if path.is_dir():
            files = [file for file in path.rglob("*") if file.is_file() and _suffix(file)]
        else:
            files = [Path(name) for name in glob.glob(str(spec), recursive=True)]  # noqa: PTH207
            files = [file for file in files if file.is_file() and _suffix(file)]
            if not files and not glob.has_magic(str(spec)):
                raise BadInput(f"{spec}: no such file or folder")
        if not files:
            raise BadInput(f"{spec}: holds no file of a known format ({', '.join(FORMATS)})")
        found.update(dict.fromkeys(sorted(files)))
    return list(found)


def read(path: Path, *, labelled: bool = True) -> Iterator[Record | BadLine]:
    """Stream the records of one file, in order; a line that is none comes as a `BadLine`.

    Args:
        path: JSONL, a JSON array, Parquet or CSV; `.gz` and `.zst` are read through.
        labelled: a chat without an answer is a `BadLine` (false: traffic without labels is fine).

    Raises:
        BadInput: the file does not exist, is of no known format, damaged as a whole, or empty.
    """
    count = 0
    try:
        for line, value in _rows(path):
            count += 1
            if isinstance(value, BadLine):
                yield value
            else:
                yield parse(value, str(path), line, labelled=labelled)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from None
    if count == 0:
        raise BadInput(f"{path}: holds no record; remove it from the inputs or fill it")


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


def parse(value: Any, source: str, line: int, *, labelled: bool = True) -> Record | BadLine:
    """Turn one decoded line into a record, or say why it is none."""
    try:
        # A row nests the value's parts one deeper, under `meta`.
        orjson.dumps([value])
    except TypeError as error:
        return BadLine(source, line, "wrong_type", f"cannot be written as JSON: {error}")
    if not isinstance(value, Mapping):
        found = type(value).__name__
        return BadLine(
            source, line, "wrong_type", f"expected an object, found {found}", _excerpt(value)
        )
    try:
        content, used = _content(value, labelled)
        return _record(value, content, used, source, line)
    except _Bad as bad:
        return BadLine(source, line, bad.reason, bad.detail, _excerpt(value))


class _Bad(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail[:500]


def _content(value: Mapping[str, Any], labelled: bool) -> tuple[dict[str, Any], set[str]]:
    keys = {key for key in value if value[key] is not None}
    if "messages" in keys:
        return {"messages": _chat(value["messages"], labelled)}, {"messages"}
    if "conversations" in keys:
        turns = _from_sharegpt(value["conversations"])
        return {"messages": _chat(turns, labelled)}, {"conversations"}
    if {"prompt", "chosen", "rejected"} <= keys:
        names = ("prompt", "chosen", "rejected")
        return {name: _string(value, name) for name in names}, set(names)
    if "prompt" in keys and ("completion" in keys or not labelled):
        turns = _turns(value, "prompt", "user")
        if "completion" in keys:
            turns += _turns(value, "completion", "assistant")
        return {"messages": _chat(turns, labelled)}, {"prompt", "completion"}
    if "instruction" in keys and ("output" in keys or not labelled):
        asked = _string(value, "instruction")
        if value.get("input"):
            asked = f"{asked}\n\n{_string(value, 'input')}"
        turns = [{"role": "user", "content": asked}]
        if "output" in keys:
            turns.append({"role": "assistant", "content": _string(value, "output")})
        return {"messages": turns}, {"instruction", "input", "output"}
    if "text" in keys:
        return {"text": _string(value, "text")}, {"text"}
    raise _Bad(
        "missing_field",
        "expected messages; prompt and completion; instruction and output; conversations; text; "
        f"or prompt, chosen and rejected; found {', '.join(map(str, value)) or 'nothing'}",
    )


def _string(value: Mapping[str, Any], name: str) -> str:
    if not isinstance(value[name], str):
        raise _Bad("wrong_type", f"{name}: expected text, found {type(value[name]).__name__}")
    return value[name]


def _turns(value: Mapping[str, Any], name: str, role: str) -> list[dict[str, Any]]:
    if isinstance(value[name], list):
        return value[name]
    return [{"role": role, "content": _string(value, name)}]


def _from_sharegpt(turns: Any) -> list[dict[str, Any]]:
    if not isinstance(turns, list):
        raise _Bad("wrong_type", f"conversations: expected a list, found {type(turns).__name__}")
    messages = []
    for number, turn in enumerate(turns):
        if not isinstance(turn, Mapping) or "from" not in turn or "value" not in turn:
            raise _Bad("missing_field", f"conversations[{number}]: expected from and value")
        role = _SHAREGPT_ROLES.get(str(turn["from"]).lower())
        if role is None:
            raise _Bad("wrong_type", f"conversations[{number}].from: unknown role {turn['from']!r}")
        messages.append({"role": role, "content": turn["value"]})
    return messages


def _chat(messages: Any, labelled: bool) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise _Bad("wrong_type", "messages: expected a list with at least one turn")
    chat = []
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or "role" not in message or "content" not in message:
            raise _Bad("missing_field", f"messages[{number}]: expected role and content")
        if not isinstance(message["role"], str) or message["role"] not in _ROLES:
            raise _Bad("wrong_type", f"messages[{number}].role: unknown role {message['role']!r}")
        chat.append({**message, "content": _message_text(message["content"], number)})
    if labelled and not any(message["role"] == "assistant" for message in chat):
        raise _Bad("missing_field", "messages: no turn of the assistant to learn from")
    return chat


def _message_text(content: Any, number: int) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    found = type(content).__name__
    raise _Bad("wrong_type", f"messages[{number}].content: expected text, found {found}")


def _record(
    value: Mapping[str, Any], content: dict[str, Any], used: set[str], source: str, line: int
) -> Record:
    rest = {key: value[key] for key in value if key not in used and value[key] is not None}
    identity = rest.pop("id", None)
    if isinstance(identity, bool) or not isinstance(identity, str | int | None):
        raise _Bad("wrong_type", f"id: expected text or a whole number, found {identity!r}")
    group = rest.pop("group", None)
    if isinstance(group, bool) or not isinstance(group, str | int | None):
        raise _Bad("wrong_type", f"group: expected text or a whole number, found {group!r}")
    timestamp = rest.pop("timestamp", None)
    if isinstance(timestamp, bool) or not isinstance(timestamp, str | int | float | None):
        raise _Bad("wrong_type", f"timestamp: expected text or a number, found {timestamp!r}")
    meta = rest.pop("meta", None)
    origin = None
    if isinstance(meta, Mapping):
        # Curation itself writes `meta`, `source` and `line`: keep the first place of origin.
        if isinstance(rest.get("source"), str) and isinstance(rest.get("line"), int):
            origin = (rest.pop("source"), rest.pop("line"))
        rest = {**meta, **rest}
    elif meta is not None:
        rest["meta"] = meta
    return Record(
        id=content_id(content) if identity is None else str(identity),
        content=content,
        source=source,
        line=line,
        group=None if group is None else str(group),
        timestamp=timestamp,
        meta=rest,
        origin=origin,
    )


def content_id(content: Mapping[str, Any]) -> str:
    """The id of a record that came without one: equal contents, equal id, in any file order."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _excerpt(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, default=str)[:200]


def _suffix(path: Path) -> str | None:
    """The format's suffix below a compression's, or None for a file of no known format."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else None


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    kind = _suffix(path)
    if kind in (".jsonl", ".ndjson"):
        return _json_lines(path)
    if kind == ".json":
        return _json_array(path)
    if kind == ".parquet":
        return _parquet(path)
    if kind == ".csv":
        return _csv(path)
    raise BadInput(
        f"{path}: unknown format; expected {', '.join(FORMATS)}, or one of them with .gz or .zst"
    )


def _open(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))
    if path.suffix.lower() == ".zst":
        import pyarrow as pa

        # Unlike zstandard's reader this one does not take a truncated file for its end.
        return io.BufferedReader(pa.input_stream(path, compression="zstd"))
    return path.open("rb")


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            line = line.strip(b" \t\r\n")
            if line:
                yield number, _decode(line, str(path), number)


def _decode(line: bytes, source: str, number: int) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        excerpt = line[:200].decode("utf-8", "replace")
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as broken:
            detail = f"byte {broken.start} is not UTF-8: save the file as UTF-8"
            return BadLine(source, number, "not_utf8", detail, excerpt)
        return BadLine(source, number, "invalid_json", str(error), excerpt)


def _json_array(path: Path) -> Iterator[tuple[int, Any]]:
    with _open(path) as file:
        data = file.read().removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        return
    try:
        values = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadInput(
            f"{path}:{error.lineno}: not a JSON document: {error}; "
            "a file of one record a line is named .jsonl"
        ) from None
    if not isinstance(values, list):
        raise BadInput(f"{path}: expected a JSON array of records, found {type(values).__name__}")
    yield from enumerate(values, start=1)


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() in _COMPRESSED:
        raise BadInput(f"{path}: Parquet compresses itself; decompress the file first")
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield number, _as_json(row, str(path), number)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not a readable Parquet file: {error}") from None


def _as_json(row: Any, source: str, number: int) -> Any:
    """What the row would be as a line of JSON: a date is text, a NaN is null."""
    try:
        return orjson.loads(orjson.dumps(row))
    except TypeError as error:
        return BadLine(source, number, "wrong_type", f"cannot be written as JSON: {error}")


def _csv(path: Path) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with _open(path) as binary:
        reader = csv.DictReader(io.TextIOWrapper(binary, encoding="utf-8-sig", newline=""))
        try:
            for row in reader:
                extra = row.pop(None, None)
                if extra:
                    detail = f"{len(extra)} more fields than the header names"
                    at = reader.line_num
                    yield at, BadLine(str(path), at, "wrong_type", detail, _excerpt(extra))
                else:
                    yield reader.line_num, {k: v for k, v in row.items() if v not in (None, "")}
        except UnicodeDecodeError as error:
            where = f"{path}:{reader.line_num + 1}"
            raise BadInput(f"{where}: not UTF-8 ({error.reason}): save it as UTF-8") from None
        except csv.Error as error:
            raise BadInput(f"{path}:{reader.line_num}: not readable as CSV: {error}") from None
