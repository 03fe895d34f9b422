"""Information of words: the rarer a word is, the more bits its appearance is worth.

A word of probability p is worth -log2 p bits (Shannon 1948), a phrase the sum of its words. The
probability is the larger of two: that of a background list (`background.txt`, rebuilt by
`benchmarks/curation/background.py`), and that in the records and benchmarks of this run, drawn
towards the background where they are few (a Dirichlet prior: Zhai & Lafferty 2001). So a word that
everybody uses is worth little, and so is one that only this corpus uses everywhere.
"""

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.curate.text.ngrams import Hashes, Positions, hash_words

UNSEEN_BITS = 20.0
"""Bits of a word that the list does not have."""
SIGN_BITS = 10.0
"""The same of a sign of a script that is written without spaces (Han, kana, hangul)."""
PRIOR_WORDS = 50_000
"""Words of the run that weigh as much as the background."""

Bits = npt.NDArray[np.float64]

_SIGN = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_LOOKUP_BITS = 4  # slots of the table for each word, as a power of two


@functools.cache
def background_bits() -> Mapping[str, float]:
    """Bits of each word of the list."""
    text = Path(__file__).with_name("background.txt").read_text(encoding="utf-8")
    found: dict[str, float] = {}
    for line in text.splitlines():
        bits, *of_line = line.split(" ")
        found |= dict.fromkeys(of_line, float(bits))
    return found


def word_bits(word: str) -> float:
    """Bits of a word (as `normalise.words` gives it) by the background alone."""
    bits = background_bits().get(word)
    if bits is not None:
        return bits
    return SIGN_BITS if _SIGN.fullmatch(word) else UNSEEN_BITS


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of the benchmarks, each once, ready to be counted in records.

    Attributes:
        words: as compared, in the order of their hashes.
        hashes: (words,) sorted.
        base: (words,) bits by the background.
        counts: (words,) how often each is in the benchmarks.
    """

    words: tuple[str, ...]
    hashes: Hashes
    base: Bits
    counts: Positions
    _slots: npt.NDArray[np.int32]
    _shift: np.uint64

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]]) -> "Vocabulary":
        """Of texts that are given as words."""
        counts = Counter(word for text in texts for word in text)
        found = sorted(counts)
        hashes = hash_words([" ".join(found)]).hashes
        order = np.argsort(hashes)
        ranked = [found[i] for i in order.tolist()]
        bits = max(10, len(found).bit_length() + _LOOKUP_BITS)
        shift = np.uint64(64 - bits)
        slots = np.full(1 << bits, -1, dtype=np.int32)
        # Of two words that share a slot the later one is counted; the other keeps its base.
        slots[(hashes[order] >> shift).astype(np.int64)] = np.arange(len(found))
        return cls(
            tuple(ranked),
            hashes[order],
            np.array([word_bits(word) for word in ranked], dtype=np.float64),
            np.array([counts[word] for word in ranked], dtype=np.int64),
            slots,
            shift,
        )

    def count(self, hashes: Hashes) -> Positions:
        """(words,) how often `hashes` have each word."""
        if not len(self.hashes):
            return np.zeros(0, dtype=np.int64)
        near = self._slots[(hashes >> self._shift).astype(np.int64)]
        known = near[(near >= 0) & (self.hashes[near] == hashes)]
        return np.bincount(known, minlength=len(self.hashes)).astype(np.int64)

    def places(self, hashes: Hashes) -> Positions:
        """Number of each word; all of them are known."""
        return np.searchsorted(self.hashes, hashes)

    def bits(self, counts: Positions, total: int) -> Bits:
        """(words,) bits of each word, with what `count` found in records of `total` words."""
        common = np.exp2(-self.base)
        seen = counts + self.counts
        here = (seen + PRIOR_WORDS * common) / (total + int(self.counts.sum()) + PRIOR_WORDS)
        found: Bits = -np.log2(np.maximum(common, here))
        return found
