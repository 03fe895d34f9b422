"""Held-out records, guarded from training: a validation or test record must not stand in it.

Containment (Broder 1997): the share of the held-out record's word 5-grams that a training record
has. Near-duplicates are gone by now; what is found here is a record inside a longer one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.curate.duplicates import Numbers, Sets, common
from tasks.curate.ngrams import Positions
from tasks.curate.parts import Parts

REASON = "leaks_split"
FEWEST_SHINGLES = 3
"""Held-out records of fewer (seven words) identify nothing."""
COMMON = 50
"""What more held-out records than this have is boilerplate."""

_SAMPLED = np.uint32(7)  # of a long record, one 5-gram in eight leads to it
_SHORT = 32  # 5-grams of a record that all lead to it
_ENOUGH = 0.5  # of the anchors that are to be expected in common, for a closer look
_PAIRS = 20_000


@dataclass(frozen=True, slots=True)
class Leak:
    """A training record that holds `share` of the held-out record's 5-grams."""

    record: int
    held_out: int
    share: float


def leaks(
    parts: Parts, training: Positions, held_out: Positions, general: Numbers, maximum: float
) -> Iterator[Leak]:
    """Training records that hold at least `maximum` of a held-out record, and of which the most.

    Args:
        parts: all records.
        training: numbers of the training records, ascending.
        held_out: numbers of the validation and test records, ascending.
        general: boilerplate 5-grams, sorted, which do not count.
        maximum: share from which on a record gives the other away.
    """
    guarded = parts.sets("shingles", held_out).without(general)
    anchors, owners = _anchors(guarded)
    if not len(anchors):
        return
    maybe = np.zeros(2**20, dtype=bool)
    maybe[anchors >> np.uint32(12)] = True
    for part, local in parts.split(training):
        shingled = parts.sets("shingles", part.first + local).without(general)
        for record, owner, share in _contained(shingled, guarded, anchors, owners, maybe, maximum):
            if share >= maximum:
                number = int(part.first + local[record])
                yield Leak(number, int(held_out[owner]), share)


def _anchors(guarded: Sets) -> tuple[Numbers, Positions]:
    """5-grams that lead to held-out records (sorted), and the record of each."""
    sizes = guarded.sizes()
    owner = np.repeat(np.arange(len(sizes)), sizes)
    leading = (guarded.values & _SAMPLED == 0) | (sizes[owner] < _SHORT)
    leading &= sizes[owner] >= FEWEST_SHINGLES
    values, owner = guarded.values[leading], owner[leading]
    order = np.argsort(values, kind="stable")
    values, owner = values[order], owner[order]
    first = np.searchsorted(values, values, side="left")
    last = np.searchsorted(values, values, side="right")
    rare = last - first <= COMMON
    return values[rare], owner[rare]


def _contained(
    shingled: Sets,
    guarded: Sets,
    anchors: Numbers,
    owners: Positions,
    maybe: npt.NDArray[np.bool_],
    maximum: float,
) -> Iterator[tuple[int, int, float]]:
    """Record, held-out record and share: for each record the held-out one that it has most of."""
    hit = np.flatnonzero(maybe[shingled.values >> np.uint32(12)])
    first = np.searchsorted(anchors, shingled.values[hit], side="left")
    counts = np.searchsorted(anchors, shingled.values[hit], side="right") - first
    which = np.repeat(np.arange(len(hit)), counts)
    offset = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    owner = owners[first[which] + offset]
    record = np.searchsorted(shingled.starts, hit[which], side="right") - 1
    # So few of the leading 5-grams in common rule out so large a share.
    leading = np.bincount(owners, minlength=len(guarded.starts) - 1)
    packed, seen = np.unique(record * len(leading) + owner, return_counts=True)
    pairs = np.stack(np.divmod(packed, len(leading)))
    pairs = pairs[:, seen >= maximum * _ENOUGH * leading[pairs[1]]]
    best: dict[int, tuple[float, int]] = {}
    for begin in range(0, pairs.shape[1], _PAIRS):
        mine, theirs = pairs[:, begin : begin + _PAIRS]
        shares = common(shingled.take(mine), guarded.take(theirs)) / guarded.sizes()[theirs]
        for one, other, share in zip(mine.tolist(), theirs.tolist(), shares.tolist(), strict=True):
            best[one] = max(best.get(one, (0.0, 0)), (share, -other))
    for one, (share, other) in sorted(best.items()):
        yield one, -other, share
