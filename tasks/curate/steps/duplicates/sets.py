"""Sets of hashes of many records at once: their elements, and what pairs of them have in common."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tasks.curate.text.ngrams import Hashes, Positions, distinct, is_member

Numbers: TypeAlias = npt.NDArray[np.uint32]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sets:
    """Sets of 32-bit hashes, one after another.

    As they come from texts they hold some elements twice and are in no order, which MinHash does
    not mind; `distinct` sorts them for comparing.

    Attributes:
        values: (elements,) the sets' elements.
        starts: (sets + 1,) where each set begins.
    """

    values: Numbers
    starts: Positions

    def sizes(self) -> Positions:
        """(sets,) number of elements."""
        return np.diff(self.starts)

    def take(self, which: Positions) -> "Sets":
        """The sets of these numbers."""
        sizes = self.sizes()[which]
        starts = np.concatenate(([0], np.cumsum(sizes)))
        element = np.arange(starts[-1]) + np.repeat(self.starts[which] - starts[:-1], sizes)
        return Sets(self.values[element], starts)

    def distinct(self) -> "Sets":
        """Each set sorted, every element once."""
        tagged = distinct(self.tagged())
        counts = np.bincount(
            (tagged >> np.uint64(32)).astype(np.int64), minlength=len(self.starts) - 1
        )
        return Sets(tagged.astype(np.uint32), np.concatenate(([0], np.cumsum(counts))))

    def is_member(self, values: Numbers) -> Mask:
        """(elements,) which are among `values` (sorted)."""
        # A table of the values' upper bits rules out most elements at once.
        bits = min(max(16, (16 * len(values)).bit_length()), 24)
        table = np.zeros(2**bits, dtype=bool)
        table[values >> np.uint32(32 - bits)] = True
        found: Mask = table[self.values >> np.uint32(32 - bits)]
        possible = np.flatnonzero(found)
        near = np.searchsorted(values, self.values[possible]).clip(max=len(values) - 1)
        found[possible] = values[near] == self.values[possible]
        return found

    def counts(self, marked: Mask) -> Positions:
        """(sets,) how many of each set's elements are `marked`."""
        return np.diff(np.concatenate(([0], np.cumsum(marked)))[self.starts])

    def keep(self, marked: Mask) -> "Sets":
        """The sets of the elements that are `marked`."""
        kept = np.concatenate(([0], np.cumsum(marked)))
        return Sets(self.values[marked], kept[self.starts])

    def without(self, values: Numbers) -> "Sets":
        """The sets less `values` (sorted)."""
        return self.keep(~self.is_member(values)) if len(values) else self

    def minus(self, others: "Sets") -> "Sets":
        """Each set without the elements of the set of its number in `others`."""
        return self.keep(~is_member(self.tagged(), np.sort(others.tagged())))

    def tagged(self) -> Hashes:
        """(elements,) each with the number of its set in the upper half."""
        owner = np.repeat(np.arange(len(self.starts) - 1, dtype=np.uint64), self.sizes())
        tagged: Hashes = owner << np.uint64(32) | self.values.astype(np.uint64)
        return tagged

    def first(self) -> Numbers:
        """(sets,) the first element of each; 0 of an empty one."""
        filled = self.sizes() > 0
        found = np.zeros(len(filled), dtype=np.uint32)
        found[filled] = self.values[self.starts[:-1][filled]]
        return found


def jaccard(sets: Sets, pairs: Positions) -> npt.NDArray[np.float64]:
    """(pairs,) exact similarity of the sets of each pair (2, pairs); of two empty ones 0."""
    left, right = (sets.take(side) for side in pairs)
    both = common_sizes(left, right)
    return np.asarray(both / np.maximum(left.sizes() + right.sizes() - both, 1))


def common_sizes(left: Sets, right: Sets) -> Positions:
    """(sets,) number of elements that each set has in common with the other of its number."""
    count = len(left.starts) - 1
    tagged = np.sort(np.concatenate([left.tagged(), right.tagged()]))
    twice = tagged[1:][tagged[1:] == tagged[:-1]] >> np.uint64(32)
    return np.bincount(twice.astype(np.int64), minlength=count)
