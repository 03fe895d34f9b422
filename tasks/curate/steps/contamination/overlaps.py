"""What a record has of a passage: stretches of its words, and the share of its bits in them.

Example: the passage has eight words, of which the first two are boilerplate of its benchmark::

    passage      the answer | is seventeen kilograms of Norwegian butter
    record       he wrote: seventeen kilograms of Norwegian cheese
    stretches    ((3, 7),)           words 3 to 6 of the passage

    share        bits of "seventeen kilograms of Norwegian"
                 ---------------------------------------------------- = 0.67, say
                 bits of "is seventeen kilograms of Norwegian butter"
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tasks.curate.steps.contamination.passage_index import PassageIndex
from tasks.curate.steps.contamination.passages import SHORTEST_PASSAGE
from tasks.curate.steps.contamination.rarity import Bits

PARTIAL = ("answer", "question")
"""Parts of which even all is boilerplate where many records have it."""

Stretch: TypeAlias = tuple[int, int]
"""Words `[begin, end)` of a passage that a record has in a row."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a record has of a passage.

    Attributes:
        passage: its number.
        exact: stretches in n-grams anywhere in the record.
        close: stretches in 5-grams at one place.
        shuffled: stretches in single words at one place, in any order; empty where that is little.
        whole: the passage is a turn of the record, or all of it.
        place: where in the record, if not in what its turns say.
        origin: equal for records whose text at that place is the same; 0: of the record alone.
    """

    passage: int
    exact: tuple[Stretch, ...]
    close: tuple[Stretch, ...]
    shuffled: tuple[Stretch, ...] = ()
    whole: bool = False
    place: str = ""
    origin: int = 0

    def row(self) -> list[Any]:
        """As JSON."""
        return [
            self.passage,
            self.exact,
            self.close,
            self.shuffled,
            self.whole,
            self.place,
            self.origin,
        ]

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> "Overlap":
        """From JSON."""
        passage, *measured, whole, place, origin = row
        exact, close, shuffled = (
            tuple((begin, end) for begin, end in stretches) for stretches in measured
        )
        return cls(passage, exact, close, shuffled, whole, place, origin)


@dataclass(frozen=True, slots=True)
class Background:
    """What is known of all records: bits of each word of the vocabulary, and the stretches of each
    passage that many records have."""

    bits: Bits
    common: Mapping[int, Sequence[Stretch]]


def share_of_passage(
    index: PassageIndex, number: int, stretches: Sequence[Stretch], background: Background
) -> tuple[float, float]:
    """Share of a passage's bits that `stretches` have, without boilerplate, and how many bits."""
    if not stretches:
        return 0.0, 0.0
    passage = index.passages[number]
    seen = to_mask(stretches, passage.length)
    bits = index.bits(number, background.bits)
    if seen.all() and (passage.part not in PARTIAL or passage.whole):
        return 1.0, float(bits.sum())
    if not seen[: passage.needed].all():
        return 0.0, 0.0
    if passage.border and not (seen[: passage.border].any() and seen[passage.border :].any()):
        return 0.0, 0.0
    common = to_mask(background.common.get(number, ()), passage.length)
    counted = ~(index.is_boilerplate(number) | common)
    hits = seen & counted
    if int(hits.sum()) < SHORTEST_PASSAGE:
        return 0.0, 0.0
    worth = float(bits[hits].sum())
    return worth / float(bits[counted].sum()), worth


def to_stretches(mask: npt.NDArray[np.bool_]) -> tuple[Stretch, ...]:
    """The stretches of words that are marked."""
    padded = np.zeros(len(mask) + 2, dtype=bool)
    padded[1:-1] = mask
    edges = np.flatnonzero(padded[1:] != padded[:-1]).tolist()
    return tuple(zip(edges[0::2], edges[1::2], strict=True))


def to_mask(stretches: Sequence[Stretch], length: int) -> npt.NDArray[np.bool_]:
    """(length,) which words are in one of the stretches."""
    mask = np.zeros(length, dtype=bool)
    for begin, end in stretches:
        mask[begin:end] = True
    return mask


def longest(stretches: Sequence[Stretch]) -> int:
    """Words of the longest stretch; 0 without any."""
    return max((end - begin for begin, end in stretches), default=0)
