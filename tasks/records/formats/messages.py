"""Chats as a list of messages: OpenAI's chat format, TRL's, ShareGPT."""

from typing import ClassVar

from tasks.records.formats import FORMATS, Format
from tasks.records.line import CHAT_KEYS, Content, Line
from tasks.records.turns import read_turns


@FORMATS.register
class Messages(Format):
    """`{"messages": [{"role", "content"}, …]}`."""

    name = "messages"
    kind = "chat"
    precedence = 30
    required = (CHAT_KEYS,)
    keys: ClassVar = {
        "messages": "the turns, each with role and content",
        "conversations": "the same, also with from and value",
        "conversation": "the same",
        "history": "earlier turns, which come first",
        "label": "true or false: whether the last answer is wanted; the record is then labelled",
        "kto_tag": "the same",
    }
    source = "OpenAI, TRL; ShareGPT as LLaMA-Factory and axolotl have it"
    examples = (
        {
            "messages": [
                {"role": "user", "content": "What is 2 + 2?"},
                {"role": "assistant", "content": "4"},
            ]
        },
        {
            "conversations": [
                {"from": "human", "value": "What is 2 + 2?"},
                {"from": "gpt", "value": "4"},
            ]
        },
    )

    def parse(self, line: Line) -> Content | None:
        """The messages, behind the history."""
        key = line.first(CHAT_KEYS)
        if key is None:
            return None
        turns = line.history() + read_turns(line.take(key), key)
        return Content(turns, label=line.rating())
