"""What of a record is compared: the request, what goes before it, and the answer."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from tasks.records import INSTRUCTING, TEXT_ROLE, Labelled, Record, Text, Turn

COUNT = "drift_count"
"""Key of `meta`: how many requests a row of a stored reference stands for."""
_MOST_COPIES = 1_000_000


@dataclass(frozen=True)
class Row:
    """One request with what belongs to it.

    Attributes:
        record: the record.
        prompt: the user's last turn, or the text; as it was written.
        system: what instructs the model; empty: nothing.
        earlier: the turns before the user's last one, instructions excepted.
        answer: what the assistant said; None: it is not recorded.
        label: of a labelled record.
    """

    record: Record
    prompt: str
    system: str
    earlier: tuple[Turn, ...]
    answer: str | None
    label: str | int | float | bool | None

    @cached_property
    def words(self) -> str:
        """The prompt with every run of white space as one space."""
        return " ".join(self.prompt.split())

    @cached_property
    def conversation(self) -> str:
        """The earlier turns as one text; empty: there are none."""
        return "\n".join(turn.text for turn in self.earlier)

    def order(self, seed: int) -> bytes:
        """The row's place in a random but repeatable order: equal content, equal place."""
        parts = (self.prompt, self.system, self.conversation, self.answer, self.label)
        data = repr((seed, parts, sorted(self.record.meta.items(), key=str))).encode(
            "utf-8", "surrogatepass"
        )
        return hashlib.blake2b(data, digest_size=16).digest()


def row_of(record: Record) -> Row:
    """The record as a row."""
    context = record.turns if isinstance(record, Text) else record.context
    said = [turn for turn in context if turn.role not in INSTRUCTING]
    last = next((place for place in range(len(said) - 1, -1, -1) if said[place].role == "user"), 0)
    label = record.label if isinstance(record, Labelled) else None
    return Row(
        record=record,
        prompt=record.prompt,
        system=record.system,
        earlier=tuple(said[:last]),
        # The target of a labelled text is its label, which is compared as such.
        answer=None if label is not None and said and said[0].role == TEXT_ROLE else record.target,
        label=label,
    )


def rows_of(records: Iterable[Record]) -> list[Row]:
    """The rows of those records that ask something, each as often as its count says."""
    rows = [row for row in map(row_of, records) if row.prompt.strip()]
    return [row for row in rows for _ in range(_count(row.record))]


def _count(record: Record) -> int:
    count = record.meta.get(COUNT, 1)
    return count if isinstance(count, int) and 0 < count <= _MOST_COPIES else 1
