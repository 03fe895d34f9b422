"""The record that every step passes on: a chat, a text, a preference of two answers, or a labelled
example.

Every kind has the same views (`prompt`, `target`, `turns`, `text`, `system`, `tools`), so that
later steps need not know its kind. `tasks.records.parsing` makes records of decoded lines.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from json.encoder import encode_basestring_ascii
from typing import Any, ClassVar, Literal, Self, TypeAlias

import orjson

Kind = Literal["chat", "text", "preference", "labelled"]
KINDS: tuple[Kind, ...] = ("chat", "text", "preference", "labelled")

INSTRUCTING = ("system", "developer")
"""Roles of the turns that instruct the model."""
TEXT_ROLE = "text"
"""Role of the one turn that a text has; it is nobody's."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the assistant makes: `arguments` is the decoded JSON object, or the text if it is
    not an object."""

    name: str
    arguments: Any
    id: str | None = None

    @property
    def text(self) -> str:
        """Name and arguments as one text, for comparing."""
        if isinstance(self.arguments, str):
            return f"{self.name} {self.arguments}"
        return " ".join([self.name, *_texts(self.arguments)])

    def message(self) -> dict[str, Any]:
        """As chat templates and OpenAI's chat format have it; arguments stay decoded."""
        call: dict[str, Any] = {"type": "function"}
        if self.id is not None:
            call["id"] = self.id
        return call | {"function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says in a chat.

    Attributes:
        role: system, developer, user, assistant or tool; `text` in a record that is a text.
        content: the visible words.
        reasoning: what the assistant thinks before it answers.
        tool_calls: what it calls.
        learn: whether training learns this turn, where the data says so; None: the usual rule (the
            assistant's turns are learned).
        name: who speaks, or the tool that a tool's turn comes from.
        tool_call_id: the call that a tool's turn answers.
        extra: other keys of the turn; they are carried along, and the model does not see them.
    """

    role: str
    content: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    learn: bool | None = None
    name: str | None = None
    tool_call_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether role and content are all there is."""
        return not (
            self.reasoning
            or self.tool_calls
            or self.learn is not None
            or self.name
            or self.tool_call_id
            or self.extra
        )

    @property
    def text(self) -> str:
        """All that the turn says: reasoning, content, and the names and arguments of its calls."""
        if not (self.reasoning or self.tool_calls):
            return self.content
        texts = [self.reasoning, self.content, *(call.text for call in self.tool_calls)]
        return "\n".join(text for text in texts if text)

    def message(self) -> dict[str, Any]:
        """The turn as chat templates take it."""
        message: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = [call.message() for call in self.tool_calls]
        if self.name:
            message["name"] = self.name
        if self.tool_call_id:
            message["tool_call_id"] = self.tool_call_id
        return message

    def row(self) -> dict[str, Any]:
        """The turn as it is written."""
        message = self.message()
        if self.learn is not None:
            message["weight"] = int(self.learn)
        return {**self.extra, **message}

    def mapped(self, change: Callable[[str], str]) -> "Turn":
        """The turn with every text of it changed, keys excepted."""
        if self.plain:
            return Turn(self.role, change(self.content))
        calls = (
            replace(call, arguments=_mapped(call.arguments, change)) for call in self.tool_calls
        )
        return replace(
            self,
            content=change(self.content),
            reasoning=change(self.reasoning) if self.reasoning else "",
            tool_calls=tuple(calls),
            extra=_mapped(self.extra, change),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a record comes from, and what it is known by.

    `source` and `line` (counted from 1) say where it was read just now; `origin` where it was read
    first, when it has been through curation before.
    """

    id: str
    source: str
    line: int
    group: str | None = None
    timestamp: str | int | float | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    origin: tuple[str, int] | None = None

    def content(self) -> dict[str, Any]:
        """The content under the keys that it is written with, which are a format's."""
        raise NotImplementedError

    def row(self) -> dict[str, Any]:
        """The record as it is written: its content under its own keys, then where it came from."""
        source, line = self.origin or (self.source, self.line)
        row: dict[str, Any] = {"id": self.id, **self.content()}
        if self.group is not None:
            row["group"] = self.group
        if self.timestamp is not None:
            row["timestamp"] = self.timestamp
        return row | {"meta": self.meta, "source": source, "line": line}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Conversation(Place):
    """The views that records of turns have in common."""

    _turn_fields: ClassVar[tuple[str, ...]] = ("turns",)
    tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def context(self) -> tuple[Turn, ...]:
        """The turns that instruct and ask."""
        raise NotImplementedError

    @property
    def system(self) -> str:
        """What instructs the model."""
        return "\n".join(turn.content for turn in self.context if turn.role in INSTRUCTING)

    @property
    def prompt(self) -> str:
        """The user's last turn before the answer."""
        return _asked(self.context)

    def mapped(self, change: Callable[[str], str]) -> Self:
        """The record with every text of its content changed; a label stays."""
        changed: dict[str, Any] = {
            name: tuple(turn.mapped(change) for turn in getattr(self, name))
            for name in self._turn_fields
        }
        return replace(self, **changed, tools=tuple(_mapped(tool, change) for tool in self.tools))

    def _with_tools(self, content: dict[str, Any]) -> dict[str, Any]:
        return content | {"tools": list(self.tools)} if self.tools else content


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat(_Conversation):
    """A conversation; the assistant's turns are learned."""

    kind: ClassVar[Kind] = "chat"
    turns: tuple[Turn, ...]

    @property
    def context(self) -> tuple[Turn, ...]:
        """All turns."""
        return self.turns

    @property
    def target(self) -> str | None:
        """The assistant's last turn, where it is the chat's last; its calls if it says nothing."""
        return _answer(self.turns)

    @property
    def text(self) -> str:
        """All that is said, turn by turn."""
        return _joined(self.turns)

    def content(self) -> dict[str, Any]:
        """As `Place.content`."""
        return self._with_tools({"messages": [turn.row() for turn in self.turns]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Place):
    """Words that nobody in particular says; all of them are learned."""

    kind: ClassVar[Kind] = "text"
    text: str
    system: ClassVar[str] = ""
    target: ClassVar[None] = None
    tools: ClassVar[tuple[Mapping[str, Any], ...]] = ()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The text as one turn."""
        return (Turn(TEXT_ROLE, self.text),)

    @property
    def prompt(self) -> str:
        """The text."""
        return self.text

    def content(self) -> dict[str, Any]:
        """As `Place.content`."""
        return {"text": self.text}

    def mapped(self, change: Callable[[str], str]) -> "Text":
        """The record with its text changed."""
        return replace(self, text=change(self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference(_Conversation):
    """Two answers to one prompt, of which the first is the better.

    `context` is what both answer, `chosen` and `rejected` how each goes on (usually one turn).
    """

    kind: ClassVar[Kind] = "preference"
    _turn_fields: ClassVar[tuple[str, ...]] = ("context", "chosen", "rejected")
    context: tuple[Turn, ...]
    chosen: tuple[Turn, ...]
    rejected: tuple[Turn, ...]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Context, the better answer, the worse one."""
        return (*self.context, *self.chosen, *self.rejected)

    @property
    def target(self) -> str | None:
        """The better answer."""
        return self.chosen[-1].content or self.chosen[-1].text

    @property
    def text(self) -> str:
        """All that is said, both answers included."""
        return _joined(self.turns)

    def chats(self) -> dict[str, Chat]:
        """The two chats that are compared, by `chosen` and `rejected`."""
        place = {name: getattr(self, name) for name in _PLACE}
        return {
            name: Chat(**place, turns=(*self.context, *answer), tools=self.tools)
            for name, answer in (("chosen", self.chosen), ("rejected", self.rejected))
        }

    def content(self) -> dict[str, Any]:
        """As `Place.content`: texts where they say everything, else messages."""
        sides = {"prompt": self.context, "chosen": self.chosen, "rejected": self.rejected}
        if _is_plain(self.context, "user") and all(
            _is_plain(answer, "assistant") for answer in (self.chosen, self.rejected)
        ):
            return self._with_tools({name: turns[0].content for name, turns in sides.items()})
        return self._with_tools(
            {name: [turn.row() for turn in turns] for name, turns in sides.items()}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled(_Conversation):
    """An example with a label: a text and its class, or a chat whose last answer was rated.

    A rated answer (an unpaired preference) has a boolean `label`: whether the answer is wanted.
    """

    kind: ClassVar[Kind] = "labelled"
    turns: tuple[Turn, ...]
    label: str | int | float | bool

    @property
    def context(self) -> tuple[Turn, ...]:
        """All turns."""
        return self.turns

    @property
    def prompt(self) -> str:
        """The text that has the label, or the user's last turn."""
        return self.turns[0].content if self._is_text else _asked(self.turns)

    @property
    def target(self) -> str | None:
        """The label of a text, or the answer that was rated."""
        return str(self.label) if self._is_text else _answer(self.turns)

    @property
    def text(self) -> str:
        """All that is said; of a text also its label."""
        words = _joined(self.turns)
        return f"{words}\n{self.label}" if self._is_text else words

    @property
    def _is_text(self) -> bool:
        return self.turns[0].role == TEXT_ROLE

    def content(self) -> dict[str, Any]:
        """As `Place.content`."""
        if self._is_text:
            return {"text": self.turns[0].content, "label": self.label}
        plain = _is_plain(self.turns[:1], "user") and _is_plain(self.turns[1:], "assistant")
        if plain and not self.tools:
            asked, answer = self.turns
            return {"prompt": asked.content, "completion": answer.content, "label": self.label}
        messages = [turn.row() for turn in self.turns]
        return self._with_tools({"messages": messages, "label": self.label})


Record: TypeAlias = Chat | Text | Preference | Labelled
"""One example, of any kind."""

_PLACE = ("id", "source", "line", "group", "timestamp", "meta", "origin")


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no record: `reason` is one of `tasks.records.REASONS`; `detail` says what was
    found and what is wanted."""

    source: str
    line: int
    reason: str
    detail: str
    excerpt: str = ""


def content_id(content: Mapping[str, Any]) -> str:
    """The id of a record that came without one: equal contents, equal id, in any file order.

    BLAKE2b of the content as JSON in ASCII with sorted keys, as Python's `json` writes it.
    """
    return hashlib.blake2b(_canonical(content), digest_size=8).hexdigest()


def excerpt(value: Any) -> str:
    """The value's first 200 characters, as JSON in ASCII."""
    return json.dumps(value, ensure_ascii=True, default=str)[:200]


_TURN = {"role", "content"}


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


def _joined(turns: Sequence[Turn]) -> str:
    return "\n".join(turn.text for turn in turns)


def _asked(turns: Sequence[Turn]) -> str:
    """The user's last turn."""
    return next((turn.content for turn in reversed(turns) if turn.role == "user"), "")


def _answer(turns: Sequence[Turn]) -> str | None:
    """What the last turn says if it is the assistant's; its calls if it says nothing."""
    last = turns[-1]
    return (last.content or last.text) if last.role == "assistant" else None


def _is_plain(turns: Sequence[Turn], role: str) -> bool:
    """Whether the turns are one, of that role, of which content is all there is."""
    return len(turns) == 1 and turns[0].role == role and turns[0].plain


def _texts(value: Any) -> list[str]:
    """Keys and values inside `value` as texts, in order."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for name, part in value.items() for text in (str(name), *_texts(part))]
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part)]
    return [] if value is None else [json.dumps(value)]


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _mapped(part, change) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(part, change) for part in value]
    return value
