"""What a chat template leaves out silently: content that would be lost.

Templates ignore what they do not know: tools, calls, reasoning, a role. Two looks find it. A copy
of the chat that holds a different mark in place of every text is rendered: a missing mark tells
what the template ignores, however often the text itself occurs elsewhere. And each turn's own
words have to be in the rendered text, which tells what depends on the words.
"""

import html
import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tasks.records import ToolCall, Turn

_CLOSING = "</think>"


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark, with the turn (None: the tools) and the key of the text that it replaces."""

    text: str
    turn: int | None
    key: str


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks that were put into a chat."""

    found: list[Mark] = field(default_factory=list)

    def new(self, turn: int | None, key: str) -> str:
        """Another mark; letters and digits only, so that no escaping changes it."""
        mark = f"zq{len(self.found)}qz"
        self.found.append(Mark(mark, turn, key))
        return mark

    def number(self, turn: int, key: str) -> int:
        """The same for a number."""
        mark = 731_000 + len(self.found)
        self.found.append(Mark(str(mark), turn, key))
        return mark

    def missing(self, text: str, last: int, context: Container[int | None]) -> "Mark | None":
        """The first mark that is not in `text` though it should be.

        Args:
            text: what was rendered.
            last: the turn that is answered; all of it should be there.
            context: other turns that should be there, but for their reasoning.
        """
        lower = text.lower()
        for mark in self.found:
            wanted = mark.turn == last or (mark.turn in context and mark.key != "reasoning")
            if wanted and mark.text not in lower:
                return mark
        return None


def marked(turns: Sequence[Turn], marks: Marks) -> list[Turn]:
    """The turns with a mark in place of each text that says something."""
    return [_marked_turn(turn, i, marks) for i, turn in enumerate(turns)]


def marked_tools(tools: Sequence[Mapping[str, Any]], marks: Marks) -> list[dict[str, Any]]:
    """The tools with a mark in place of each name, description and parameter's name."""
    found = []
    for tool in tools:
        function = dict(tool.get("function") or {})
        for name in ("name", "description"):
            if isinstance(function.get(name), str) and function[name].strip():
                function[name] = marks.new(None, "tools")
        if isinstance(function.get("parameters"), Mapping):
            function["parameters"] = _marked_parameters(function["parameters"], marks)
        found.append({**tool, "function": function})
    return found


def _marked_parameters(schema: Mapping[str, Any], marks: Marks) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return dict(schema)
    names = {name: marks.new(None, "tools") for name in properties}
    found = {**schema, "properties": {names[name]: part for name, part in properties.items()}}
    if isinstance(schema.get("required"), list):
        wanted = schema["required"]
        found["required"] = [names.get(x, x) if isinstance(x, str) else x for x in wanted]
    return found


def left_out(turn: Turn, text: str, *, last: bool) -> str | None:
    """The key of a turn whose own words are not in the rendered text: `content` or `reasoning`.

    Args:
        turn: the turn.
        text: what was rendered.
        last: whether it is the answer itself; of earlier ones, templates drop the reasoning.
    """
    content = turn.content
    if not last and turn.role == "assistant":
        content = content.rpartition(_CLOSING)[2]
    if not _is_in(content, text):
        return "content"
    return "reasoning" if last and not _is_in(turn.reasoning, text) else None


def _marked_turn(turn: Turn, number: int, marks: Marks) -> Turn:
    calls = tuple(
        ToolCall(
            marks.new(number, "tool_calls"),
            _marked_value(call.arguments, number, marks),
            call.id,
        )
        for call in turn.tool_calls
    )
    return replace(
        turn,
        content=marks.new(number, "content") if turn.content.strip() else turn.content,
        reasoning=marks.new(number, "reasoning") if turn.reasoning.strip() else turn.reasoning,
        tool_calls=calls,
    )


def _marked_value(value: Any, number: int, marks: Marks) -> Any:
    if isinstance(value, str):
        return marks.new(number, "tool_calls") if value.strip() else value
    if isinstance(value, Mapping):
        return {name: _marked_value(part, number, marks) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_marked_value(part, number, marks) for part in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return marks.number(number, "tool_calls") if is_number else value


def _is_in(words: str, text: str) -> bool:
    """Whether a text has the words, in whatever way a template may write them."""
    words = words.strip()
    if not words or words in text:
        return True
    spaceless = _without_spaces(text)
    return any(_without_spaces(form) in spaceless for form in _written(words))


def _written(words: str) -> Iterator[str]:
    yield words
    for ascii_only in (False, True):
        yield json.dumps(words, ensure_ascii=ascii_only)[1:-1]
    yield html.escape(words)
    yield html.escape(words, quote=False)


def _without_spaces(text: str) -> str:
    return "".join(text.split())
