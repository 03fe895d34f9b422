"""What a record says, and in which role: the system prompt, which many share, is left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.curate.text.ngrams import Positions, Words, hash_words
from tasks.records import INSTRUCTING, TEXT_ROLE, Preference, Record, Turn


@dataclass(frozen=True, slots=True)
class Said:
    """The words of a batch of records, turn by turn.

    Attributes:
        turns: the words of each turn of `said`, one record after another.
        first: (records + 1,) number of each record's first turn.
    """

    turns: Words
    first: Positions

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Said":
        """Hash the words of `records`."""
        turns = [said(record) for record in records]
        first = np.concatenate(([0], np.cumsum([len(one) for one in turns]))).astype(np.int64)
        return cls(hash_words([text for one in turns for text in one]), first)

    def take(self, which: Positions) -> "Said":
        """The words of these records."""
        counts = np.diff(self.first)[which]
        first = np.concatenate(([0], np.cumsum(counts)))
        turns = np.arange(first[-1]) + np.repeat(self.first[which] - first[:-1], counts)
        sizes = np.diff(self.turns.starts)[turns]
        starts = np.concatenate(([0], np.cumsum(sizes)))
        at = np.arange(starts[-1]) + np.repeat(self.turns.starts[turns] - starts[:-1], sizes)
        return Said(Words(self.turns.hashes[at], starts), first)

    @property
    def records(self) -> Words:
        """The words of each record, across its turns."""
        return Words(self.turns.hashes, self.turns.starts[self.first])

    def answers(self, records: Sequence[Record]) -> Words:
        """The words of what each record teaches to say last (`learned`), or none."""
        which = self.first[:-1] + np.array([_learned_turn(record) for record in records], np.int64)
        kept = np.zeros(len(self.turns.starts) - 1, dtype=bool)
        kept[which] = True
        lengths = np.diff(self.turns.starts)
        return Words(
            self.turns.hashes[np.repeat(kept, lengths)],
            np.concatenate(([0], np.cumsum(lengths[which]))),
        )


def spoken(record: Record) -> str:
    """All that the record says but the system prompt."""
    return "\n".join(said(record))


def said(record: Record) -> list[str]:
    """The same, turn by turn."""
    return [turn.text for turn in _turns(record)]


def surroundings(record: Record) -> list[tuple[str, str]]:
    """What is around the turns: name and text of the system prompt and of the tools."""
    found = []
    instructing = [turn.text for turn in record.turns if _instructs(turn)]
    if instructing:
        found.append(("system prompt", "\n".join(instructing)))
    if record.tools:
        found.append(("tools", "\n".join(_texts(record.tools))))
    return found


def _texts(value: Any) -> Iterator[str]:
    """Every text inside of `value`; keys are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inside in value.values():
            yield from _texts(inside)
    elif isinstance(value, Sequence):
        for inside in value:
            yield from _texts(inside)


def learned(record: Record) -> str:
    """What the model would learn to say last: the last answer, or all of a text."""
    turns = _turns(record)
    if not turns:
        return ""
    last = turns[_learned_turn(record)]
    return last.text if last.role in ("assistant", TEXT_ROLE) else ""


def _learned_turn(record: Record) -> int:
    """Number of the turn of `said` that `learned` returns."""
    if isinstance(record, Preference):
        return len([t for t in (*record.context, *record.chosen) if not _instructs(t)]) - 1
    roles = [turn.role for turn in _turns(record)]
    return len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else 0


def parts(record: Record) -> tuple[str, str]:
    """What was asked and what was answered last; a text is all asked."""
    if isinstance(record, Preference):
        asked = [turn.text for turn in record.context if not _instructs(turn)]
        return "\n".join(asked), learned(record)
    texts = said(record)
    count = answer_turn(record)
    return "\n".join(texts[:count]), "\n".join(texts[count:])


def user_turns(record: Record) -> list[int]:
    """Numbers in `said` of the user's turns (or of a text)."""
    asked = ("user", TEXT_ROLE)
    return [i for i, turn in enumerate(_turns(record)) if turn.role in asked]


def answer_turn(record: Record) -> int:
    """Number in `said` of the first turn that is no longer `parts`' first part."""
    if isinstance(record, Preference):
        return len([turn for turn in record.context if not _instructs(turn)])
    turns = _turns(record)
    return len(turns) - (bool(turns) and turns[-1].role == "assistant")


def _turns(record: Record) -> list[Turn]:
    return [turn for turn in record.turns if not _instructs(turn)]


def _instructs(turn: Turn) -> bool:
    return turn.role in INSTRUCTING
