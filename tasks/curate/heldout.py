"""Held-out records, guarded: a validation or test record must not stand in a training record, nor
a test record in a validation record.

Containment (Broder 1997): the share of the held-out record's word 5-grams that a training record
has. Near-duplicates are gone by now; what is found here is a record inside a longer one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.curate.duplicates import Numbers, Sets, common
from tasks.curate.ngrams import Positions
from tasks.curate.parts import Parts

REASON = "leaks_split"
FEWEST_SHINGLES = 3
"""Held-out records of fewer (seven words) identify nothing."""
COMMON = 10
"""What more held-out records than this have is boilerplate."""

_SAMPLED = np.uint32(7)  # of a long record, one 5-gram in eight leads to it
_SHORT = 32  # 5-grams of a record that all lead to it
_ENOUGH = 0.5  # of the anchors that are to be expected in common, for a closer look
_PAIRS = 5_000


@dataclass(frozen=True, slots=True)
class Leak:
    """A training record that holds `share` of the held-out record's 5-grams."""

    record: int
    held_out: int
    share: float


def leaks(
    parts: Parts, training: Positions, held_out: Positions, general: Numbers, maximum: float
) -> list[Leak]:
    """Training records that hold at least `maximum` of a held-out record, and of which the most.

    Args:
        parts: all records.
        training: numbers of the training records, ascending.
        held_out: numbers of the validation and test records, ascending.
        general: boilerplate 5-grams, sorted, which do not count.
        maximum: share from which on a record gives the other away.
    """
    guarded = _Guarded(parts, held_out, general)
    best: dict[int, Leak] = {}
    for part, local in parts.split(training):
        shingled = part.sets("shingles").take(local)
        record, other = guarded.candidates(shingled, maximum)
        for begin in range(0, len(record), _PAIRS):
            mine, theirs = record[begin : begin + _PAIRS], other[begin : begin + _PAIRS]
            shares = guarded.shares(shingled.take(mine).distinct(), theirs)
            for at in np.flatnonzero(shares >= maximum).tolist():
                number, two = int(part.first + local[mine[at]]), int(held_out[theirs[at]])
                leak = Leak(number, two, float(shares[at]))
                known = best.setdefault(number, leak)
                best[number] = max(known, leak, key=lambda one: (one.share, -one.held_out))
    return [best[record] for record in sorted(best)]


class _Guarded:
    """The held-out records' 5-grams, and those of them that lead to the records."""

    def __init__(self, parts: Parts, held_out: Positions, general: Numbers) -> None:
        self._sets = parts.sets("shingles", held_out).without(general)
        sizes = self._sets.sizes()
        owner = np.repeat(np.arange(len(sizes)), sizes)
        leading = (self._sets.values & _SAMPLED == 0) | (sizes[owner] < _SHORT)
        leading &= sizes[owner] >= FEWEST_SHINGLES
        values, owner = self._sets.values[leading], owner[leading]
        order = np.argsort(values, kind="stable")
        values, owner = values[order], owner[order]
        counts = np.searchsorted(values, values, side="right") - np.searchsorted(values, values)
        self._values, self._owners = values[counts <= COMMON], owner[counts <= COMMON]
        self._leading = np.bincount(self._owners, minlength=len(sizes))
        bits = min(max(16, (16 * len(self._values)).bit_length()), 26)
        self._shift = np.uint32(32 - bits)
        self._maybe = np.zeros(2**bits, dtype=bool)
        self._maybe[self._values >> self._shift] = True

    def candidates(self, shingled: Sets, maximum: float) -> tuple[Positions, Positions]:
        """Pairs of a set and a held-out record with enough of the leading 5-grams in common."""
        hit = np.flatnonzero(self._maybe[shingled.values >> self._shift])
        first = np.searchsorted(self._values, shingled.values[hit])
        counts = np.searchsorted(self._values, shingled.values[hit], side="right") - first
        which = np.repeat(np.arange(len(hit)), counts)
        offset = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        owner = self._owners[first[which] + offset]
        record = np.searchsorted(shingled.starts, hit[which], side="right") - 1
        number = max(len(self._leading), 1)
        packed, seen = np.unique(record * number + owner, return_counts=True)
        record, owner = np.divmod(packed, number)
        enough = seen >= maximum * _ENOUGH * self._leading[owner]
        return record[enough], owner[enough]

    def shares(self, theirs: Sets, held_out: Positions) -> npt.NDArray[np.float64]:
        """The share of each held-out record that the set beside it has."""
        guarded = self._sets.take(held_out)
        return common(theirs, guarded) / np.maximum(guarded.sizes(), 1)
