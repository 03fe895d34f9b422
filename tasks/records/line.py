"""A decoded line while it is read: which keys it has, and which of them were read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.records.record import Turn
from tasks.records.turns import Rejected, decoded, is_empty, read_turn, read_turns

SYSTEM_KEYS = ("system", "system_prompt")
TOOLS_KEYS = ("tools", "functions")
CHAT_KEYS = ("messages", "conversations", "conversation")
PROMPT_KEYS = ("prompt", "instruction", "question", "query")
INPUT_KEYS = ("input", "context")
ANSWER_KEYS = ("completion", "output", "response", "answer")
RATING_KEYS = ("label", "kto_tag")

UNSUPPORTED_KEYS = frozenset(
    {
        *("images", "image", "videos", "video", "audios", "audio", "completions"),
        "chat_template_kwargs",
        # Of questions with options, and about a passage; of answers with their reasoning.
        *("choices", "options", "passage", "article", "document", "paragraph", "story"),
        *("dialogue", "reasoning", "reasoning_content", "thinking"),
    }
)
"""Keys that carry content in the documentation of some format, and that no format here reads."""

CONTENT_KEYS = frozenset({*SYSTEM_KEYS, *TOOLS_KEYS, "history", "kto_tag", *UNSUPPORTED_KEYS})
"""Keys with content that do not belong to one format alone."""

CARRIED_KEYS = frozenset({"text", "label", "id", "group", "timestamp", "meta"})
"""Keys that are read, and go into `meta` where a format does not use them."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a line says; which of the fields are set says of which kind the record is.

    Attributes:
        turns: of a chat; of a preference what both answers answer.
        text: of a text.
        label: of a text its class; of a chat whether its answer is wanted; None: no label.
        chosen: of a preference the better answer, usually one turn.
        rejected: the worse one.
    """

    turns: tuple[Turn, ...] = ()
    text: str | None = None
    label: str | int | float | bool | None = None
    chosen: tuple[Turn, ...] = ()
    rejected: tuple[Turn, ...] = ()


class Line:
    """A decoded line whose keys are ticked off as they are read.

    Attributes:
        value: the line.
        read: the keys that were read.
        labelled: a chat without an answer is none (false: traffic without answers is fine).
    """

    __slots__ = ("labelled", "read", "value")

    def __init__(self, value: Mapping[str, Any], labelled: bool) -> None:
        self.value = value
        self.labelled = labelled
        self.read: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether a key says something."""
        return not is_empty(self.value.get(name))

    def take(self, name: str) -> Any:
        """The value of a key, which counts as read."""
        self.read.add(name)
        return self.value.get(name)

    def first(self, names: tuple[str, ...], *, empty: bool = False) -> str | None:
        """The key among these that says something; None if none does.

        Args:
            names: keys that mean the same.
            empty: take a key with an empty text where none says more.

        Raises:
            Rejected: two of them say something.
        """
        value = self.value
        found = [name for name in names if name in value and not is_empty(value[name])]
        if len(found) > 1:
            raise Rejected("ambiguous", f"both {found[0]} and {found[1]}: leave one of them")
        if found or not empty:
            return found[0] if found else None
        return next((name for name in names if value.get(name) is not None), None)

    def text(self, name: str, *, numbers: bool = False) -> str:
        """Text under a key.

        Args:
            name: the key.
            numbers: a number is accepted as its digits.

        Raises:
            Rejected: it is something else.
        """
        value = self.take(name)
        if isinstance(value, str):
            return value
        if numbers and isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        raise Rejected("wrong_type", f"{name}: expected text, found {type(value).__name__}")

    def turns(self, name: str, role: str, *, numbers: bool = False) -> tuple[Turn, ...]:
        """Turns under a key: a list of messages, one message, or the words of `role`.

        Raises:
            Rejected: it is none of these, or holds what cannot be honoured.
        """
        value = self.value[name]
        if isinstance(value, str) and value.startswith("["):
            value = _decoded_turns(value)
        if isinstance(value, list):
            self.read.add(name)
            return read_turns(value, name)
        if isinstance(value, Mapping):
            self.read.add(name)
            return (read_turn(value, name),)
        return (Turn(role, self.text(name, numbers=numbers)),)

    def history(self) -> tuple[Turn, ...]:
        """Alpaca's earlier rounds, if there are any: pairs of what was asked and answered.

        Raises:
            Rejected: `history` is something else.
        """
        if not self.has("history"):
            return ()
        rounds = self.take("history")
        if isinstance(rounds, str):
            rounds = decoded(rounds, "history")
        if not isinstance(rounds, list):
            raise Rejected("wrong_type", "history: expected a list of pairs")
        turns: list[Turn] = []
        for i, pair in enumerate(rounds):
            if isinstance(pair, Mapping):
                turns.append(read_turn(pair, f"history[{i}]"))
            elif _is_pair_of_texts(pair):
                turns += [Turn("user", pair[0]), Turn("assistant", pair[1])]
            else:
                raise Rejected("wrong_type", f"history[{i}]: expected what was asked and answered")
        return tuple(turns)

    def rating(self) -> bool | None:
        """Whether an answer is wanted, where it was rated; other labels of chats are metadata.

        Raises:
            Rejected: `label` or `kto_tag` is neither true nor false.
        """
        name = self.first(RATING_KEYS)
        if name is None:
            name = next((name for name in RATING_KEYS if self.value.get(name) is False), None)
        if name is None:
            return None
        value = self.value[name]
        rating = {"true": True, "false": False}.get(str(value).strip().lower())
        if rating is not None:
            self.read.add(name)
        elif name == "kto_tag" or isinstance(value, int | float):
            raise Rejected(
                "ambiguous",
                f"{name}: beside an answer it says whether the answer is wanted, by true or false; "
                f"found {value!r}: rename it if it says something else",
            )
        return rating


def _is_pair_of_texts(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value)
    )


def _decoded_turns(text: str) -> Any:
    """The turns that a table's cell holds as text; the text itself where it is nothing else."""
    try:
        value = decoded(text, "")
    except Rejected:
        return text
    if not isinstance(value, list) or not value:
        return text
    return value if all(map(_is_message, value)) else text


def _is_message(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return {"role", "content"} <= value.keys() or {"from", "value"} <= value.keys()
