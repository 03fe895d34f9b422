"""The record that every step passes on, and how one decoded line becomes one.

Three shapes of content exist: a chat (`messages`), a text (`text`), a preference (`prompt`,
`chosen`, `rejected`). `prompt`/`completion`, `instruction`/`output` and `conversations` are read as
chats, so that every later step knows one shape for each.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii
from typing import Any

import orjson

_ROLES = {"system", "developer", "user", "assistant", "tool"}
_TURN = {"role", "content"}
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
    `missing_field`, `too_long_line`, `truncated`; `detail` says what was found and what is
    wanted."""

    source: str
    line: int
    reason: str
    detail: str
    excerpt: str = ""


def parse(value: Any, source: str, line: int, *, labelled: bool = True) -> Record | BadLine:
    """Turn one decoded line into a record, or say why it is none."""
    try:
        # A row nests the value's parts one deeper, under `meta`.
        orjson.dumps([value])
    except TypeError as error:
        return BadLine(source, line, "wrong_type", f"cannot be written as JSON: {error}")
    return from_json(value, source, line, labelled)


def from_json(value: Any, source: str, line: int, labelled: bool) -> Record | BadLine:
    """`parse` of what JSON was decoded to and can be written as."""
    if type(value) is not dict and not isinstance(value, Mapping):
        found = type(value).__name__
        return BadLine(
            source, line, "wrong_type", f"expected an object, found {found}", excerpt(value)
        )
    try:
        content, used = _content(value, labelled)
        return _record(value, content, used, source, line)
    except _Bad as bad:
        return BadLine(source, line, bad.reason, bad.detail, excerpt(value))


class _Bad(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail[:500]


def _content(value: Mapping[str, Any], labelled: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The content, and the keys that it was made of."""
    get = value.get
    if get("messages") is not None:
        return {"messages": _chat(value["messages"], labelled)}, ("messages",)
    if get("conversations") is not None:
        turns = _from_sharegpt(value["conversations"])
        return {"messages": _chat(turns, labelled)}, ("conversations",)
    if get("prompt") is not None:
        if get("chosen") is not None and get("rejected") is not None:
            names = ("prompt", "chosen", "rejected")
            return {name: _string(value, name) for name in names}, names
        used = ("prompt", "completion")
        asked, answer = value["prompt"], get("completion")
        if type(asked) is str and type(answer) is str:
            return {"messages": [_turn("user", asked), _turn("assistant", answer)]}, used
        if answer is not None or not labelled:
            turns = _turns(value, "prompt", "user")
            if answer is not None:
                turns += _turns(value, "completion", "assistant")
            return {"messages": _chat(turns, labelled)}, used
    if get("instruction") is not None and (get("output") is not None or not labelled):
        asked = _string(value, "instruction")
        if get("input"):
            asked = f"{asked}\n\n{_string(value, 'input')}"
        turns = [_turn("user", asked)]
        if get("output") is not None:
            turns.append(_turn("assistant", _string(value, "output")))
        return {"messages": turns}, ("instruction", "input", "output")
    if get("text") is not None:
        return {"text": _string(value, "text")}, ("text",)
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
    return [_turn(role, _string(value, name))]


def _turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


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
        messages.append(_turn(role, turn["value"]))
    return messages


def _chat(messages: Any, labelled: bool) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise _Bad("wrong_type", "messages: expected a list with at least one turn")
    chat = []
    answered = not labelled
    for number, message in enumerate(messages):
        # An exact dict is told from other mappings much faster.
        known = type(message) is dict or isinstance(message, Mapping)
        if not known or "role" not in message or "content" not in message:
            raise _Bad("missing_field", f"messages[{number}]: expected role and content")
        role = message["role"]
        if not isinstance(role, str) or role not in _ROLES:
            raise _Bad("wrong_type", f"messages[{number}].role: unknown role {role!r}")
        answered = answered or role == "assistant"
        chat.append({**message, "content": _message_text(message, number)})
    if not answered:
        raise _Bad("missing_field", "messages: no turn of the assistant to learn from")
    return chat


def _message_text(message: Mapping[str, Any], number: int) -> str:
    content = message["content"]
    if content is None and message.get("tool_calls"):
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    found = type(content).__name__
    raise _Bad("wrong_type", f"messages[{number}].content: expected text, found {found}")


def _record(
    value: Mapping[str, Any],
    content: dict[str, Any],
    used: tuple[str, ...],
    source: str,
    line: int,
) -> Record:
    rest = {key: part for key, part in value.items() if part is not None and key not in used}
    identity = _name(rest.pop("id", None), "id")
    group = _name(rest.pop("group", None), "group")
    timestamp = rest.pop("timestamp", None)
    if isinstance(timestamp, bool) or not isinstance(timestamp, str | int | float | None):
        raise _Bad("wrong_type", f"timestamp: expected text or a number, found {timestamp!r}")
    meta = rest.pop("meta", None)
    origin = None
    if isinstance(meta, Mapping):
        # Curation itself writes `meta`, `source` and `line`: keep the first place of origin.
        if isinstance(rest.get("source"), str) and _is_line(rest.get("line")):
            origin = (rest.pop("source"), rest.pop("line"))
        rest = {**meta, **rest}
    elif meta is not None:
        rest["meta"] = meta
    if identity is None:
        identity = content_id(content)
    return Record(identity, content, source, line, group, timestamp, rest, origin)


def _name(value: Any, key: str) -> str | None:
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Bad("wrong_type", f"{key}: expected text or a whole number, found {value!r}")
    return str(value)


def content_id(content: Mapping[str, Any]) -> str:
    """The id of a record that came without one: equal contents, equal id, in any file order.

    BLAKE2b of the content as JSON in ASCII with sorted keys, as Python's `json` writes it.
    """
    return hashlib.blake2b(_canonical(content), digest_size=8).hexdigest()


def _canonical(content: Mapping[str, Any]) -> bytes:
    """`json.dumps(content, sort_keys=True)`; the usual shapes are put together from their parts."""
    if content.keys() == {"messages"} and all(m.keys() == _TURN for m in content["messages"]):
        turns = [
            f'{{"content": {_quoted(turn["content"])}, "role": {_quoted(turn["role"])}}}'
            for turn in content["messages"]
        ]
        return f'{{"messages": [{", ".join(turns)}]}}'.encode()
    if content.keys() == {"text"}:
        return f'{{"text": {_quoted(content["text"])}}}'.encode()
    return json.dumps(content, sort_keys=True).encode()


def _quoted(text: str) -> str:
    # In ASCII the two libraries differ by the delete character alone.
    if text.isascii() and "\x7f" not in text:
        return orjson.dumps(text).decode()
    return encode_basestring_ascii(text)


def excerpt(value: Any) -> str:
    """The value's first 200 characters, as JSON in ASCII."""
    return json.dumps(value, ensure_ascii=True, default=str)[:200]


def _is_line(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
