"""Split leakage: no validation or test record may be inside a training record, nor a test record
inside a validation record.

Containment (Broder 1997): the share of the held-out record's word 5-grams that a training record
has. Near-duplicates are gone by now; what is found here is a record inside a longer one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.curate.run.shards import Shards
from tasks.curate.steps.duplicates.sets import Numbers, Sets, common_sizes
from tasks.curate.text.ngrams import Positions

REASON = "leaks_split"
FEWEST_SHINGLES = 3
"""Held-out records of fewer (seven words) identify nothing."""
COMMON = 10
"""What more held-out records than this have is boilerplate."""

_SAMPLED = np.uint32(7)  # of a long record, one 5-gram in eight leads to it
_SHORT = 32  # 5-grams of a record that all lead to it
_ENOUGH = 0.5  # of the anchors that are to be expected in common, for a closer look
_WITNESSES = 8  # of the records that hold much of a held-out one
_PAIRS = 5_000


@dataclass(frozen=True, slots=True)
class Leak:
    """A training record that holds `share` of the held-out record's 5-grams."""

    record: int
    held_out: int
    share: float


def leaks(
    shards: Shards,
    training: Positions,
    held_out: Positions,
    frames: Numbers,
    maximum: float,
    lacking: Callable[[Positions], npt.NDArray[np.bool_]],
) -> list[Leak]:
    """Training records that hold at least `maximum` of a held-out record, and of which the most.

    Where more records than one hold as much of a held-out record, what more than half of the others
    have of it is a template's, and the share of the rest decides.

    Args:
        shards: all records.
        training: numbers of the training records, ascending.
        held_out: numbers of the validation and test records, ascending.
        frames: 5-grams of templates, sorted, which do not count.
        maximum: share from which on a record leaks the other.
        lacking: of (2, pairs) records and held-out records: do they lack the content of the
            latter (`facts.lacks_own_content`)?
    """
    index = _HeldOut(shards, held_out, frames)
    record, other, share = index.holding(shards, training, maximum)
    if not len(record):
        return []
    more, of_more, _ = index.holding(shards, held_out, maximum)
    apart = more != held_out[of_more]
    sharing = _by_held_out(
        np.concatenate([record, more[apart]]), np.concatenate([other, of_more[apart]])
    )
    share = index.shares_without_common(shards, record, other, share, sharing)
    found = share >= maximum
    record, other, share = record[found], other[found], share[found]
    told = ~lacking(np.stack([record, held_out[other]]))
    best: dict[int, Leak] = {}
    for i in np.flatnonzero(told).tolist():
        leak = Leak(int(record[i]), int(held_out[other[i]]), float(share[i]))
        known = best.setdefault(leak.record, leak)
        best[leak.record] = max(known, leak, key=lambda leak: (leak.share, -leak.held_out))
    return [best[number] for number in sorted(best)]


def _by_held_out(record: Positions, other: Positions) -> dict[int, Positions]:
    """The first few records that hold much of each held-out record, ascending."""
    order = np.lexsort((record, other))
    record, other = record[order], other[order]
    borders = np.concatenate(([0], np.flatnonzero(np.diff(other)) + 1))
    return {
        int(other[begin]): group[:_WITNESSES]
        for begin, group in zip(borders, np.split(record, borders[1:]), strict=True)
    }


class _HeldOut:
    """The held-out records' 5-grams, and those of them that lead to the records."""

    def __init__(self, shards: Shards, held_out: Positions, frames: Numbers) -> None:
        self._sets = shards.sets("shingles", held_out).without(frames)
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

    def holding(
        self, shards: Shards, numbers: Positions, maximum: float
    ) -> tuple[Positions, Positions, npt.NDArray[np.float64]]:
        """Records among `numbers`, the position of a held-out record that each holds at least
        `maximum` of, and the share."""
        records, others, shares = [], [], []
        for part, local in shards.split(numbers):
            shingled = part.sets("shingles").take(local)
            record, other = self.candidates(shingled, maximum)
            for begin in range(0, len(record), _PAIRS):
                batch, beside = record[begin : begin + _PAIRS], other[begin : begin + _PAIRS]
                share = self.shares(shingled.take(batch).distinct(), beside)
                enough = share >= maximum
                records.append(part.first + local[batch[enough]])
                others.append(beside[enough])
                shares.append(share[enough])
        if not records:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        return np.concatenate(records), np.concatenate(others), np.concatenate(shares)

    def shares_without_common(
        self,
        shards: Shards,
        record: Positions,
        other: Positions,
        share: npt.NDArray[np.float64],
        sharing: dict[int, Positions],
    ) -> npt.NDArray[np.float64]:
        """The shares without 5-grams that most other records have that hold much of the held-out
        one, too: those are a template's."""
        found = share.copy()
        order = np.argsort(other, kind="stable")
        for begin in range(0, len(order), _PAIRS):
            pairs = order[begin : begin + _PAIRS]
            pairs = pairs[[len(sharing[i]) > 1 for i in other[pairs].tolist()]]
            numbers = np.unique(
                np.concatenate([record[pairs], *(sharing[i] for i in set(other[pairs].tolist()))])
            )
            sets = shards.sets("shingles", numbers)
            for i in pairs.tolist():
                held_out = self._sets.take(other[i : i + 1]).values
                has = _having(sets, numbers, record[i], held_out)
                others = sharing[int(other[i])]
                others = others[others != record[i]]
                having = np.zeros(len(held_out), dtype=np.int64)
                for number in others:
                    having += _having(sets, numbers, number, held_out)
                counted: npt.NDArray[np.bool_] = 2 * having <= len(others)
                if counted.any():
                    found[i] = has[counted].mean()
        return found

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

    def shares(self, sets: Sets, held_out: Positions) -> npt.NDArray[np.float64]:
        """The share of each held-out record that the set beside it has."""
        searched = self._sets.take(held_out)
        return common_sizes(sets, searched) / np.maximum(searched.sizes(), 1)


def _having(sets: Sets, numbers: Positions, number: int, values: Numbers) -> npt.NDArray[np.int64]:
    """(values,) 1 where the record of this number has the value."""
    i = int(np.searchsorted(numbers, number))
    values_of_record = sets.values[sets.starts[i] : sets.starts[i + 1]]
    near = np.searchsorted(values_of_record, values).clip(max=len(values_of_record) - 1)
    return np.asarray(values_of_record[near] == values, dtype=np.int64)
