"""Anchors: n-grams that lead from records to the passages that have them, too."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.curate.text.ngrams import Grams, Hashes, Positions, Words, windows


@dataclass(frozen=True, slots=True)
class Anchors:
    """N-grams, and the passages that each of them leads to.

    Attributes:
        size: words of an n-gram.
        known: their hashes, sorted.
        firsts: (n-grams + 1,) where the passages of each begin in `owners`.
        owners: the passages.
        maybe: a table of bits by the n-grams' upper bits, which spares nearly all searches.
        shift: how far down these bits are.
    """

    size: int
    known: Hashes
    firsts: Positions
    owners: Positions
    maybe: npt.NDArray[np.bool_]
    shift: np.uint64

    @classmethod
    def of(
        cls,
        words: Words,
        size: int,
        chosen: npt.NDArray[np.bool_],
        most_passages: int,
        boilerplate: npt.NDArray[np.bool_],
    ) -> "Anchors":
        """The n-grams of the chosen passages.

        N-grams that more than `most_passages` passages have, or with a word that is `boilerplate`,
        lead to none, unless a passage has no others.
        """
        grams = windows(words, size)
        owner = np.repeat(np.arange(len(chosen)), np.diff(grams.starts))
        end = np.minimum(grams.begin + size, words.starts[1:][owner])
        before = np.concatenate(([0], np.cumsum(boilerplate)))
        is_boilerplate = (before[end] - before[grams.begin]) == end - grams.begin
        wanted = chosen[owner]
        hashes, owner, is_boilerplate = grams.hashes[wanted], owner[wanted], is_boilerplate[wanted]
        order = np.lexsort((owner, hashes))
        hashes, owner, is_boilerplate = hashes[order], owner[order], is_boilerplate[order]
        new = np.ones(len(hashes), dtype=bool)
        new[1:] = (hashes[1:] != hashes[:-1]) | (owner[1:] != owner[:-1])
        hashes, owner, is_boilerplate = hashes[new], owner[new], is_boilerplate[new]
        rare = (np.repeat(*_counted(hashes)) <= most_passages) & ~is_boilerplate
        without_rare = np.bincount(owner[rare], minlength=len(chosen)) == 0
        kept = rare | without_rare[owner]
        return cls.leading(size, hashes[kept], owner[kept])

    @classmethod
    def leading(cls, size: int, hashes: Hashes, owners: Positions) -> "Anchors":
        """N-grams sorted by hash, and the passage that each leads to."""
        known, first = np.unique(hashes, return_index=True)
        bits = max(16, (16 * len(known)).bit_length())
        shift = np.uint64(64 - bits)
        maybe = np.zeros(2**bits, dtype=bool)
        maybe[known >> shift] = True
        return cls(size, known, np.append(first, len(hashes)), owners, maybe, shift)

    def lookup(self, words: Words, least: int = 1) -> Iterator[tuple[int, int, Positions]]:
        """Record, passage and the positions (numbers of words) of the n-grams that both have.

        Pairs with fewer than `least` such positions are left out.
        """
        if not len(self.known):
            return
        # A window of one word is the word.
        single = self.size == 1
        grams = (
            Grams(words.hashes, words.starts, np.arange(len(words.hashes)))
            if single
            else windows(words, self.size)
        )
        hit = np.flatnonzero(self.maybe[grams.hashes >> self.shift])
        near = np.searchsorted(self.known, grams.hashes[hit]).clip(max=len(self.known) - 1)
        same = self.known[near] == grams.hashes[hit]
        hit, near = hit[same], near[same]
        counts = self.firsts[near + 1] - self.firsts[near]
        which = np.repeat(np.arange(len(hit)), counts)
        if not len(which):
            return
        offset = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        passage = self.owners[self.firsts[near][which] + offset]
        record = np.searchsorted(grams.starts, hit[which], side="right") - 1
        order = np.lexsort((passage, record))
        record, passage, position = record[order], passage[order], grams.begin[hit[which[order]]]
        new = np.ones(len(record), dtype=bool)
        new[1:] = (record[1:] != record[:-1]) | (passage[1:] != passage[:-1])
        first = np.flatnonzero(new)
        last = np.append(first[1:], len(record))
        enough = last - first >= least
        for begin, end in zip(first[enough].tolist(), last[enough].tolist(), strict=True):
            yield int(record[begin]), int(passage[begin]), position[begin:end]


def _counted(ranked: Hashes) -> tuple[Positions, Positions]:
    """How often each value of a sorted array is in it, twice: to repeat itself by."""
    counts = np.unique(ranked, return_counts=True)[1]
    return counts, counts
