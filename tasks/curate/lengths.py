"""Lengths: tokens of the base model, counted as training will."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from tasks.curate.ledger import Evidence, Place, place
from tasks.encoding import TEMPLATE_ERRORS, encode
from tasks.errors import BadInput
from tasks.records import Chat, Labelled, Preference, Record, Text, Turn
from tasks.tokens import Tokenizer

_MARGIN = 4
"""Tokens a turn by which a count from the parts may be off, with room to spare."""
_PROBE = "word"

Roles: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of each record, or why the chat template cannot render it."""

    tokens: dict[Place, int] = field(default_factory=dict)
    errors: dict[Place, str] = field(default_factory=dict)

    def unrenderable(self, record: Record) -> Evidence | None:
        """Evidence for a record that the base model's chat template refuses."""
        error = self.errors.get(place(record))
        return None if error is None else {"error": error}

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
    its turns and that. Where this comes near a bound, and for whatever else, the chat is encoded
    as training encodes it.
    """

    def __init__(self, tokenizer: Tokenizer, minimum: int, maximum: int) -> None:
        self._tokenizer = tokenizer
        self._bounds = (minimum, maximum)
        self._frames: dict[Roles, int | None] = {}

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
                parts = _parts(record)
                turns += parts
                waiting.append((record, len(parts)))
        counts = self._tokenizer.count(turns)
        done = 0
        for record, parts_of in waiting:
            self._enter(record, sum(counts[done : done + parts_of]), lengths)
            done += parts_of
        return lengths

    def _enter(self, record: Record, said: int, lengths: Lengths) -> None:
        frame = self._frame(record)
        if frame is not None:
            margin = _MARGIN * len(record.turns)
            near = any(abs(said + frame - bound) <= margin for bound in self._bounds)
            if not near:
                lengths.tokens[place(record)] = said + frame
                return
        from jinja2 import TemplateError

        try:
            lengths.tokens[place(record)] = self._exactly(record)
        except (BadInput, TemplateError, *TEMPLATE_ERRORS) as error:
            lengths.errors[place(record)] = f"{type(error).__name__}: {error}"[:300]

    def _frame(self, record: Record) -> int | None:
        """Tokens beside the turns' own; None where a probe cannot tell."""
        from jinja2 import TemplateError

        if isinstance(record, Text):
            return 1 if self._tokenizer.eos_token else 0
        if not isinstance(record, Chat) or not all(turn.plain for turn in record.turns):
            return None
        roles = tuple(turn.role for turn in record.turns)
        if roles not in self._frames:
            probe = tuple(Turn(role, _PROBE) for role in roles)
            try:
                whole = self._exactly(replace(record, turns=probe))
            except (BadInput, TemplateError, *TEMPLATE_ERRORS):
                self._frames[roles] = None
            else:
                self._frames[roles] = whole - len(roles) * self._tokenizer.count([_PROBE])[0]
        return self._frames[roles]

    def _exactly(self, record: Record) -> int:
        if isinstance(record, Preference):
            # As long as the longer of its two chats.
            return max(map(self._exactly, record.chats().values()))
        if isinstance(record, Labelled):
            return sum(self._tokenizer.count(_parts(record)))
        return len(encode(record, self._tokenizer).input_ids)


def _parts(record: Record) -> Sequence[str]:
    return [turn.content for turn in record.turns]
