"""The texts of a record, turn by turn, without the system prompt, which many records share.

Turns are numbered as `turn_texts` has them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.curate.text.ngrams import Positions, Words, hash_words
from tasks.records import INSTRUCTING, TEXT_ROLE, Preference, Record, Turn


@dataclass(frozen=True, slots=True)
class TurnWords:
    """The words of a batch of records, turn by turn.

    Attributes:
        turns: the words of each turn of `turn_texts`, one record after another.
        first: (records + 1,) number of each record's first turn.
    """

    turns: Words
    first: Positions

    @classmethod
    def of(cls, records: Sequence[Record]) -> "TurnWords":
        """Hash the words of `records`."""
        turns = [turn_texts(record) for record in records]
        first = np.concatenate(([0], np.cumsum(list(map(len, turns))))).astype(np.int64)
        return cls(hash_words([text for of_record in turns for text in of_record]), first)

    def take(self, which: Positions) -> "TurnWords":
        """The words of these records."""
        counts = np.diff(self.first)[which]
        first = np.concatenate(([0], np.cumsum(counts)))
        turns = np.arange(first[-1]) + np.repeat(self.first[which] - first[:-1], counts)
        sizes = np.diff(self.turns.starts)[turns]
        starts = np.concatenate(([0], np.cumsum(sizes)))
        word = np.arange(starts[-1]) + np.repeat(self.turns.starts[turns] - starts[:-1], sizes)
        return TurnWords(Words(self.turns.hashes[word], starts), first)

    @property
    def records(self) -> Words:
        """The words of each record, across its turns."""
        return Words(self.turns.hashes, self.turns.starts[self.first])

    def answers(self, records: Sequence[Record]) -> Words:
        """The words of the `learned_text` of each record."""
        which = self.first[:-1] + np.array([_learned_turn(record) for record in records], np.int64)
        kept = np.zeros(len(self.turns.starts) - 1, dtype=bool)
        kept[which] = True
        lengths = np.diff(self.turns.starts)
        return Words(
            self.turns.hashes[np.repeat(kept, lengths)],
            np.concatenate(([0], np.cumsum(lengths[which]))),
        )


def text_without_system(record: Record) -> str:
    """All turns of the record but the system prompt."""
    return "\n".join(turn_texts(record))


def turn_texts(record: Record) -> list[str]:
    """The text of each turn but the system prompt."""
    return [turn.text for turn in _turns(record)]


def surrounding_texts(record: Record) -> list[tuple[str, str]]:
    """Name and text of the system prompt and of the tools, if the record has them."""
    found = []
    instructing = [turn.text for turn in record.turns if _instructs(turn)]
    if instructing:
        found.append(("system prompt", "\n".join(instructing)))
    if record.tools:
        found.append(("tools", "\n".join(_texts(record.tools))))
    return found


def _texts(value: Any) -> Iterator[str]:
    """Every text inside `value`, keys excepted."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inside in value.values():
            yield from _texts(inside)
    elif isinstance(value, Sequence):
        for inside in value:
            yield from _texts(inside)


def learned_text(record: Record) -> str:
    """What the model would learn to say last: the last answer, or all of a text; else empty."""
    turns = _turns(record)
    if not turns:
        return ""
    last = turns[_learned_turn(record)]
    return last.text if last.role in ("assistant", TEXT_ROLE) else ""


def _learned_turn(record: Record) -> int:
    """Number of the turn that `learned_text` returns."""
    if isinstance(record, Preference):
        return len([t for t in (*record.context, *record.chosen) if not _instructs(t)]) - 1
    roles = [turn.role for turn in _turns(record)]
    return len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else 0


def prompt_and_answer(record: Record) -> tuple[str, str]:
    """All that comes before the last answer, and that answer; a text is all prompt."""
    if isinstance(record, Preference):
        asked = [turn.text for turn in record.context if not _instructs(turn)]
        return "\n".join(asked), learned_text(record)
    texts = turn_texts(record)
    count = answer_turn(record)
    return "\n".join(texts[:count]), "\n".join(texts[count:])


def user_turns(record: Record) -> list[int]:
    """Numbers of the user's turns (or of a text)."""
    return [i for i, turn in enumerate(_turns(record)) if turn.role in ("user", TEXT_ROLE)]


def answer_turn(record: Record) -> int:
    """Number of the first turn that is not in the prompt of `prompt_and_answer`."""
    if isinstance(record, Preference):
        return len([turn for turn in record.context if not _instructs(turn)])
    turns = _turns(record)
    return len(turns) - (bool(turns) and turns[-1].role == "assistant")


def _turns(record: Record) -> list[Turn]:
    return [turn for turn in record.turns if not _instructs(turn)]


def _instructs(turn: Turn) -> bool:
    return turn.role in INSTRUCTING
