"""Preferences as OpenAI's fine-tuning has them."""

from collections.abc import Mapping
from typing import ClassVar

from tasks.records.formats import FORMATS, Format
from tasks.records.formats.preference import compare
from tasks.records.line import Content, Line
from tasks.records.turns import Rejected, is_empty, read_turns

_INPUT_KEYS = ("messages", "tools", "parallel_tool_calls")


@FORMATS.register
class OpenaiPreference(Format):
    """`{"input": {"messages"}, "preferred_output", "non_preferred_output"}`."""

    name = "openai_preference"
    kind = "preference"
    precedence = 10
    required = (("preferred_output",), ("non_preferred_output",))
    keys: ClassVar = {
        "input": "an object with messages, which both answers answer, and tools",
        "preferred_output": "the better answer, as a list of messages",
        "non_preferred_output": "the worse answer, likewise",
    }
    source = "OpenAI"
    examples = (
        {
            "input": {"messages": [{"role": "user", "content": "What is 2 + 2?"}]},
            "preferred_output": [{"role": "assistant", "content": "4"}],
            "non_preferred_output": [{"role": "assistant", "content": "5"}],
        },
    )

    def parse(self, line: Line) -> Content | None:
        """The messages of the input, and both answers."""
        if not (line.has("preferred_output") and line.has("non_preferred_output")):
            return None
        asked = line.take("input")
        if not isinstance(asked, Mapping) or is_empty(asked.get("messages")):
            raise Rejected("missing_field", "input: expected messages, of which both are answers")
        other = next((name for name in asked if name not in _INPUT_KEYS), None)
        if other is not None and not is_empty(asked[other]):
            raise Rejected("unread_key", f"input.{other}: is not read")
        return compare(
            read_turns(asked["messages"], "input.messages"),
            read_turns(line.take("preferred_output"), "preferred_output"),
            read_turns(line.take("non_preferred_output"), "non_preferred_output"),
        )
