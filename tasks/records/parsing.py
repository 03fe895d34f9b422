"""How one decoded line becomes a record, whatever its format.

A key that carries content in some format is read, or the line is no record and the key is named.
Other keys are carried in `meta`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from tasks.records.formats import FORMATS
from tasks.records.line import CHAT_KEYS, SYSTEM_KEYS, TOOLS_KEYS, Content, Line
from tasks.records.record import (
    INSTRUCTING,
    TEXT_ROLE,
    BadLine,
    Chat,
    Labelled,
    Preference,
    Record,
    Text,
    Turn,
    content_id,
    excerpt,
)
from tasks.records.turns import Rejected, is_empty, read_tools

REASONS = (
    "invalid_json",
    "not_utf8",
    "wrong_type",
    "missing_field",
    "too_long_line",
    "truncated",
    "unread_key",
    "unsupported_content",
    "unsupported_weight",
    "ambiguous",
    "empty_turn",
    "nothing_to_learn",
    "equal_answers",
)
"""Why a line is no record."""

_EXPECTED = (
    "expected messages; conversations; prompt and completion; instruction and output; question and "
    "answer; text; text and label; or prompt, chosen and rejected"
)
_OPTIONS = "write them into the prompt, and the answer in words or as its letter"
_OPTION = re.compile(r"(?:(?:option|choice|opt|op)[ _]?)?[a-d1-4]", re.IGNORECASE)
"""Columns of which each holds an option, where there are several."""


def parse(value: Any, source: str, line: int, *, labelled: bool = True) -> Record | BadLine:
    """Turn one decoded line into a record, or say why it is none.

    Args:
        value: the decoded line.
        source: the file that it comes from.
        line: its number, from 1.
        labelled: a chat without an answer is none (false: traffic without answers is fine).
    """
    try:
        # A row nests the value's parts one deeper, under `meta`.
        orjson.dumps([value])
    except TypeError as error:
        return BadLine(source, line, "wrong_type", f"cannot be written as JSON: {error}")
    return parse_json(value, source, line, labelled)


def parse_json(value: Any, source: str, line: int, labelled: bool) -> Record | BadLine:
    """`parse` of what JSON was decoded to and can be written as."""
    if type(value) is not dict and not isinstance(value, Mapping):
        found = type(value).__name__
        return BadLine(
            source, line, "wrong_type", f"expected an object, found {found}", excerpt(value)
        )
    try:
        fields = Line(value, labelled)
        content = _content(fields)
        tools = _tools(fields)
        turns = _with_system(fields, content.turns)
        if labelled and content.text is None:
            _check_answers((*turns, *content.chosen))
        return _record(fields, content, turns, tools, source, line)
    except Rejected as bad:
        return BadLine(source, line, bad.reason, bad.detail, excerpt(value))


def _content(line: Line) -> Content:
    """What the first format says that the line is of."""
    for format in FORMATS.candidates(line.value):
        if (content := format.parse(line)) is not None:
            return content
    for key in CHAT_KEYS:
        if line.value.get(key) is not None:
            raise Rejected("wrong_type", f"{key}: expected a list with at least one turn")
    found = ", ".join(map(str, line.value)) or "nothing"
    raise Rejected("missing_field", f"{_EXPECTED}; found {found}")


def _tools(line: Line) -> tuple[Mapping[str, Any], ...]:
    """Definitions of tools, which are beside the content, or in OpenAI's `input`."""
    found: tuple[Mapping[str, Any], ...] = ()
    name = line.first(TOOLS_KEYS)
    if name is not None:
        found = read_tools(line.take(name), name)
    asked = line.value.get("input")
    if isinstance(asked, Mapping) and not is_empty(asked.get("tools")):
        found += read_tools(asked["tools"], "input.tools")
    return found


def _with_system(line: Line, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns with the system prompt that is beside them."""
    name = line.first(SYSTEM_KEYS)
    if name is None or not turns:
        return turns
    if not isinstance(line.value[name], str):
        raise Rejected("wrong_type", f"{name}: expected text")
    system = line.text(name)
    inside = [turn.content for turn in turns if turn.role in INSTRUCTING]
    if system in inside:
        return turns
    if inside:
        raise Rejected("ambiguous", f"{name}: differs from the system turn of the chat")
    return (Turn("system", system), *turns)


def _check_answers(turns: tuple[Turn, ...]) -> None:
    """Refuse turns of which nothing is learned, or an answer that says nothing."""
    answers = [i for i, turn in enumerate(turns) if turn.role == "assistant"]
    if not answers:
        raise Rejected("missing_field", "messages: no turn of the assistant to learn from")
    for i in answers:
        turn = turns[i]
        # Of the last turn curation says so itself, by `empty_completion`.
        silent = not (turn.content.strip() or turn.tool_calls) and turn.learn is not False
        if silent and i < len(turns) - 1:
            raise Rejected("empty_turn", f"messages[{i}]: the assistant says and calls nothing")
    if all(turns[i].learn is False for i in answers):
        raise Rejected("nothing_to_learn", "messages: every answer has the weight 0")


def _record(
    line: Line,
    content: Content,
    turns: tuple[Turn, ...],
    tools: tuple[Mapping[str, Any], ...],
    source: str,
    number: int,
) -> Record:
    known = FORMATS.content_keys()
    rest = {
        key: part
        for key, part in line.value.items()
        if part is not None and key not in line.read and not (key in known and is_empty(part))
    }
    identity = _name(rest.pop("id", None), "id")
    group = _name(rest.pop("group", None), "group")
    timestamp = _timestamp(rest.pop("timestamp", None))
    meta = rest.pop("meta", None)
    origin = None
    if isinstance(meta, Mapping):
        # Curation itself writes `meta`, `source` and `line`: keep the first place of origin.
        if isinstance(rest.get("source"), str) and _is_line_number(rest.get("line")):
            origin = (rest.pop("source"), rest.pop("line"))
        rest = {**meta, **rest}
    elif meta is not None:
        rest["meta"] = meta
    place: dict[str, Any] = {
        "source": source,
        "line": number,
        "group": group,
        "timestamp": timestamp,
        "meta": rest,
        "origin": origin,
    }
    record = _of_kind(identity or "", content, turns, tools, place)
    _refuse_unread(rest, record, known)
    return replace(record, id=content_id(record.content())) if identity is None else record


def _of_kind(
    identity: str,
    content: Content,
    turns: tuple[Turn, ...],
    tools: tuple[Mapping[str, Any], ...],
    place: dict[str, Any],
) -> Record:
    if content.text is not None:
        if content.label is None:
            return Text(id=identity, text=content.text, **place)
        turns = (Turn(TEXT_ROLE, content.text),)
        return Labelled(id=identity, turns=turns, label=content.label, **place)
    if content.chosen:
        return Preference(
            id=identity,
            context=turns,
            chosen=content.chosen,
            rejected=content.rejected,
            tools=tools,
            **place,
        )
    if content.label is not None:
        return Labelled(id=identity, turns=turns, label=content.label, tools=tools, **place)
    return Chat(id=identity, turns=turns, tools=tools, **place)


def _refuse_unread(rest: Mapping[str, Any], record: Record, known: frozenset[str]) -> None:
    """Refuse a record of which a key with content was not read, unless it repeats a whole turn."""
    if record.kind == "chat":
        options = [key for key in rest if _OPTION.fullmatch(key) and not key.isdigit()]
        if len(options) > 1:
            raise Rejected("unread_key", f"{options[0]}: options are not read as such: {_OPTIONS}")
    if rest.keys().isdisjoint(known):
        return
    texts = {turn.content.strip() for turn in record.turns}
    for key, value in rest.items():
        if key not in known or is_empty(value):
            continue
        if isinstance(value, str) and value.strip() in texts:
            continue
        raise Rejected(
            "unread_key", f"{key}: is not read beside the other keys; rename or remove it"
        )


def _timestamp(value: Any) -> str | int | float | None:
    if isinstance(value, Mapping) and list(value) == ["$date"]:
        value = value["$date"]  # as MongoDB exports it
        if isinstance(value, Mapping) and list(value) == ["$numberLong"]:
            value = value["$numberLong"]
    if value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise Rejected("wrong_type", f"timestamp: expected text or a number, found {value!r}")
    return value


def _name(value: Any, key: str) -> str | None:
    """An id or a group as text; None for an empty one, which records would share by accident."""
    if value is None or type(value) is str:
        return value or None
    if isinstance(value, float) and math.isfinite(value) and abs(value) < 2**53:
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Rejected(
            "wrong_type", f"{key}: expected text or a whole number below 2**53, found {value!r}"
        )
    return str(value)


def _is_line_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
