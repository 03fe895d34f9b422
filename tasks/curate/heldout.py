"""Held-out records, guarded: a validation or test record must not stand in a training record, nor
a test record in a validation record.

Containment (Broder 1997): the share of the held-out record's word 5-grams that a training record
has. Near-duplicates are gone by now; what is found here is a record inside a longer one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.curate.duplicates import Numbers, common
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
    anchors = _Anchors(parts, held_out, general)
    best: dict[int, Leak] = {}
    for record, other in anchors.candidates(parts, training, maximum):
        for begin in range(0, len(record), _PAIRS):
            one, two = record[begin : begin + _PAIRS], other[begin : begin + _PAIRS]
            for leak in _contained(parts, one, two, general):
                known = best.get(leak.record)
                rank = (leak.share, -leak.held_out)
                if leak.share >= maximum and (
                    known is None or rank > (known.share, -known.held_out)
                ):
                    best[leak.record] = leak
    return [best[record] for record in sorted(best)]


class _Anchors:
    """5-grams that lead to held-out records."""

    def __init__(self, parts: Parts, held_out: Positions, general: Numbers) -> None:
        values, owners = [np.empty(0, np.uint32)], [np.empty(0, np.int64)]
        for part, local in parts.split(held_out):
            found = part.sets("shingles").take(local).distinct().without(general)
            sizes = found.sizes()
            owner = np.repeat(np.arange(len(sizes)), sizes)
            leading = (found.values & _SAMPLED == 0) | (sizes[owner] < _SHORT)
            leading &= sizes[owner] >= FEWEST_SHINGLES
            values.append(found.values[leading])
            owners.append((part.first + local)[owner[leading]])
        joined, owner = np.concatenate(values), np.concatenate(owners)
        order = np.argsort(joined, kind="stable")
        joined, owner = joined[order], owner[order]
        counts = np.searchsorted(joined, joined, side="right") - np.searchsorted(joined, joined)
        self._values, self._owners = joined[counts <= COMMON], owner[counts <= COMMON]
        self._numbers, self._leading = np.unique(self._owners, return_counts=True)
        bits = min(max(16, (16 * len(self._values)).bit_length()), 26)
        self._shift = np.uint32(32 - bits)
        self._maybe = np.zeros(2**bits, dtype=bool)
        self._maybe[self._values >> self._shift] = True

    def candidates(
        self, parts: Parts, training: Positions, maximum: float
    ) -> Iterator[tuple[Positions, Positions]]:
        """Pairs of a training and a held-out record with enough anchors in common, by part."""
        for part, local in parts.split(training):
            shingled = part.sets("shingles").take(local)
            hit = np.flatnonzero(self._maybe[shingled.values >> self._shift])
            first = np.searchsorted(self._values, shingled.values[hit])
            counts = np.searchsorted(self._values, shingled.values[hit], side="right") - first
            which = np.repeat(np.arange(len(hit)), counts)
            offset = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
            owner = np.searchsorted(self._numbers, self._owners[first[which] + offset])
            record = np.searchsorted(shingled.starts, hit[which], side="right") - 1
            packed, seen = np.unique(record * len(self._numbers) + owner, return_counts=True)
            record, owner = np.divmod(packed, max(len(self._numbers), 1))
            enough = seen >= maximum * _ENOUGH * self._leading[owner]
            yield (part.first + local)[record[enough]], self._numbers[owner[enough]]


def _contained(
    parts: Parts, records: Positions, others: Positions, general: Numbers
) -> Iterator[Leak]:
    """The share that each record has of the other."""
    numbers, local = np.unique(np.concatenate([records, others]), return_inverse=True)
    sets = parts.sets("shingles", numbers).without(general)
    mine, theirs = (sets.take(side) for side in np.split(local.reshape(-1), 2))
    shares = common(mine, theirs) / np.maximum(theirs.sizes(), 1)
    for record, other, share in zip(
        records.tolist(), others.tolist(), shares.tolist(), strict=True
    ):
        yield Leak(record, other, share)
