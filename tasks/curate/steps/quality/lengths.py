"""Lengths: tokens of the base model, counted as training will."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from tasks.curate.ledger import Evidence, Place, place
from tasks.model.encoding import Codec, Unrenderable, control_token, encode_all
from tasks.model.tokens import Tokenizer
from tasks.records import Chat, Labelled, Preference, Record, Text, Turn

_MARGIN = 4
"""Tokens a turn by which a count from the parts may be off, with room to spare."""
_PROBE = "word"
_ENDLESS = 2**62
_REASONING = "</think>"
"""Templates cut content here; such a chat is measured whole."""

Structure: TypeAlias = tuple[tuple[str, bool | None], ...]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of each record, or why the base cannot be given it."""

    tokens: dict[Place, int] = field(default_factory=dict)
    errors: dict[Place, Unrenderable] = field(default_factory=dict)

    def refused(self, record: Record, reason: str) -> Evidence | None:
        """Evidence for a record that the base cannot be given for this reason
        (`encoding.Unrenderable`)."""
        error = self.errors.get(place(record))
        return error.evidence if error is not None and error.reason == reason else None

    def too_short(self, record: Record, minimum: int) -> Evidence | None:
        """Evidence for a record of fewer tokens than `minimum`."""
        tokens = self.tokens.get(place(record))
        if tokens is None or tokens >= minimum:
            return None
        return {"tokens": tokens, "minimum": minimum}

    def too_long(self, record: Record, maximum: int) -> Evidence | None:
        """Evidence for a record of more tokens than `maximum`."""
        tokens = self.tokens.get(place(record))
        if tokens is None or tokens <= maximum:
            return None
        return {"tokens": tokens, "maximum": maximum}


class Ruler:
    """Counts the tokens of records with the base model's chat template.

    What a chat's template adds is rendered once for each order of roles; a chat is then as long as
    its turns and that. Where this comes near a bound, and for whatever else (calls, tools,
    reasoning), the chat is encoded as training encodes it.
    """

    def __init__(self, tokenizer: Tokenizer, minimum: int, maximum: int) -> None:
        self._tokenizer = tokenizer
        self._codec = Codec.of(tokenizer)
        self._bounds = (minimum, maximum)
        self._frames: dict[Structure, int | None] = {}

    def measure(self, records: Iterable[Record]) -> Lengths:
        """Tokens of each of `records`.

        A record that must be longer than the maximum whatever its words (no token stands for more
        signs than the vocabulary's longest) is not tokenised: its count is that lower bound.
        """
        lengths = Lengths()
        turns: list[str] = []
        waiting: list[tuple[Record, int]] = []
        for record in records:
            at_least = len(record.text) // self._tokenizer.widest
            if at_least > self._bounds[1]:
                lengths.tokens[place(record)] = at_least
            else:
                parts = [turn.content for turn in record.turns] if self._is_plain(record) else []
                turns += parts
                waiting.append((record, len(parts)))
        counts = self._tokenizer.count(turns)
        done = 0
        for record, parts_of in waiting:
            said = sum(counts[done : done + parts_of]) if parts_of else None
            self._enter(record, said, lengths)
            done += parts_of
        return lengths

    def _enter(self, record: Record, said: int | None, lengths: Lengths) -> None:
        frame = None if said is None else self._frame(record)
        if said is not None and frame is not None:
            margin = _MARGIN * len(record.turns)
            near = any(abs(said + frame - bound) <= margin for bound in self._bounds)
            if not near:
                lengths.tokens[place(record)] = said + frame
                return
        try:
            lengths.tokens[place(record)] = self._exactly(record)
        except Unrenderable as error:
            lengths.errors[place(record)] = error

    def _is_plain(self, record: Record) -> bool:
        """Whether the parts tell the length: turns of words alone, which no template changes."""
        if control_token([record.text], self._codec):
            return False
        if record.kind == "text":
            return True
        return (
            record.kind == "chat"
            and not record.tools
            and _REASONING not in record.text
            and all(map(_is_words, record.turns))
        )

    def _frame(self, record: Record) -> int | None:
        """Tokens beside the turns' own; None where a probe cannot tell."""
        if not isinstance(record, Chat):
            return len(self._codec.bos) + bool(self._codec.end)
        structure = tuple((turn.role, turn.learn) for turn in record.turns)
        if structure not in self._frames:
            turns = tuple(Turn(role, _PROBE, learn=learn) for role, learn in structure)
            try:
                whole = self._exactly(replace(record, turns=turns))
            except Unrenderable:
                self._frames[structure] = None
            else:
                self._frames[structure] = whole - len(turns) * self._tokenizer.count([_PROBE])[0]
        return self._frames[structure]

    def _exactly(self, record: Record) -> int:
        """Tokens of the record's longest example.

        Raises:
            Unrenderable: as `encode`, or there is nothing to learn in it.
        """
        if isinstance(record, Preference):
            return max(map(self._exactly, record.chats().values()))
        if isinstance(record, Labelled):
            return self._exactly(_of_labelled(record))
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
