"""Lengths of records in tokens of the base model, counted as training counts them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from tasks.curate.ledger import Place, place
from tasks.model.chat_rendering import Unrenderable
from tasks.model.decoder import Codec
from tasks.model.encoding import encode_all
from tasks.model.tokens import Tokenizer
from tasks.records import Chat, Labelled, Preference, Record, Text, Turn

_MARGIN = 4
"""Tokens a turn by which a sum of counts may differ from the exact count, with reserve."""
_PROBE = "word"
_ENDLESS = 2**62
_REASONING = "</think>"
"""Templates cut content here; such a chat is measured whole."""

Structure: TypeAlias = tuple[tuple[str, bool | None], ...]


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of each record, or why the base cannot be given it."""

    tokens: dict[Place, int] = field(default_factory=dict)
    errors: dict[Place, Unrenderable] = field(default_factory=dict)


class TokenCounter:
    """Counts the tokens of records with the base model's chat template.

    What the template adds is counted once for each order of roles; the length of a chat is the sum
    of that and its turns' contents. Where the sum is near a bound, and for whatever else (calls,
    tools, reasoning), the chat is encoded as training encodes it.
    """

    def __init__(self, tokenizer: Tokenizer, minimum: int, maximum: int) -> None:
        self._tokenizer = tokenizer
        self._codec = Codec.of(tokenizer)
        self._bounds = (minimum, maximum)
        self._overheads: dict[Structure, int | None] = {}

    def measure(self, records: Iterable[Record]) -> TokenCounts:
        """Tokens of each of `records`.

        A record that must be longer than the maximum whatever its words (no token stands for more
        characters than the vocabulary's longest) is not tokenised: its count is that lower bound.
        """
        counts = TokenCounts()
        turns: list[str] = []
        waiting: list[tuple[Record, int]] = []
        for record in records:
            at_least = len(record.text) // self._tokenizer.max_token_chars
            if at_least > self._bounds[1]:
                counts.tokens[place(record)] = at_least
            else:
                contents = [turn.content for turn in record.turns] if self._is_plain(record) else []
                turns += contents
                waiting.append((record, len(contents)))
        turn_counts = self._tokenizer.count(turns)
        done = 0
        for record, count in waiting:
            content = sum(turn_counts[done : done + count]) if count else None
            self._enter(record, content, counts)
            done += count
        return counts

    def _enter(self, record: Record, content: int | None, counts: TokenCounts) -> None:
        overhead = None if content is None else self._overhead(record)
        if content is not None and overhead is not None:
            total, margin = content + overhead, _MARGIN * len(record.turns)
            if not any(abs(total - bound) <= margin for bound in self._bounds):
                counts.tokens[place(record)] = total
                return
        try:
            counts.tokens[place(record)] = self._exact_count(record)
        except Unrenderable as error:
            counts.errors[place(record)] = error

    def _is_plain(self, record: Record) -> bool:
        """Whether the turns' contents tell the length: words alone, which no template changes."""
        if self._codec.control_token([record.text]):
            return False
        if record.kind == "text":
            return True
        return (
            record.kind == "chat"
            and not record.tools
            and _REASONING not in record.text
            and all(map(_is_words, record.turns))
        )

    def _overhead(self, record: Record) -> int | None:
        """Tokens beside the turns' own; None where a probe cannot tell."""
        if not isinstance(record, Chat):
            return len(self._codec.bos) + bool(self._codec.end)
        structure = tuple((turn.role, turn.learn) for turn in record.turns)
        if structure not in self._overheads:
            turns = tuple(Turn(role, _PROBE, learn=learn) for role, learn in structure)
            try:
                whole = self._exact_count(replace(record, turns=turns))
            except Unrenderable:
                self._overheads[structure] = None
            else:
                self._overheads[structure] = whole - len(turns) * self._tokenizer.count([_PROBE])[0]
        return self._overheads[structure]

    def _exact_count(self, record: Record) -> int:
        """Tokens of the record's longest example.

        Raises:
            Unrenderable: as `encode`, or there is nothing to learn in it.
        """
        if isinstance(record, Preference):
            return max(map(self._exact_count, record.chats().values()))
        if isinstance(record, Labelled):
            return self._exact_count(_of_labelled(record))
        examples = encode_all(record, self._tokenizer, _ENDLESS)
        if not any(example.targets for example in examples):
            sentence = "no answer that is to be learned"
            raise Unrenderable(record, "nothing_to_learn", sentence)
        return max(len(example.input_ids) for example in examples)


def _is_words(turn: Turn) -> bool:
    """Whether a turn says something, in words alone."""
    more = turn.reasoning or turn.tool_calls or turn.name or turn.tool_call_id
    return not more and bool(turn.content.strip())


def _of_labelled(record: Labelled) -> Chat | Text:
    """What of a labelled example is read."""
    rest: Sequence[str] = ("id", "source", "line", "group", "timestamp", "meta", "origin")
    values = {name: getattr(record, name) for name in rest}
    if record.turns[0].role == "text":
        return Text(**values, text=record.turns[0].content)
    return Chat(**values, turns=record.turns, tools=record.tools)
