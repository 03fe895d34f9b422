"""Words and word n-grams of many texts at once, as hashes: one pass of NumPy over the bytes.

A word's hash is a polynomial of its bytes modulo 2^64 (Karp & Rabin 1987, "Efficient randomized
pattern-matching algorithms"), mixed so that all bits matter; a window's hash is a polynomial of
its words' hashes. Both come from prefix sums: the hash of any stretch is one difference, made
comparable by the inverse power of its start (the base is odd, hence invertible modulo 2^64).

Equal words have equal hashes on every machine and in every batch. The chance that two of a
billion different windows collide is about 3 %, and a collision alone decides nothing here.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.curate.text.normalise import spaced

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]

_BASE = 0x9E3779B97F4A7C15
_UNDERSCORE = ord("_")
_SLOT_BITS = 18
_BLOCK = 2**18
"""Bytes hashed at once: what the processor's second cache holds, temporaries included."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of texts, one after another.

    Attributes:
        hashes: (words,) one hash a word.
        starts: (texts + 1,) where each text's words begin; the last entry is the number of words.
    """

    hashes: Hashes
    starts: Positions

    def spans(self, begin: Positions, end: Positions) -> Hashes:
        """Hashes of the stretches `[begin, end)` of words; equal for equal sequences of words.

        An empty stretch has the hash of no words, wherever it is.
        """
        return _stretches(_prefix(self.hashes), begin, end)


@dataclass(frozen=True, slots=True)
class Grams:
    """The n-grams of texts, one after another.

    Attributes:
        hashes: (grams,) one hash a window.
        starts: (texts + 1,) where each text's windows begin.
        begin: (grams,) number of the first word of each window.
    """

    hashes: Hashes
    starts: Positions
    begin: Positions


def hash_words(texts: Sequence[str]) -> Words:
    """Hash the words of `texts`: those that `normalise.words` gives, in their order."""
    hashes: list[Hashes] = []
    counts = np.zeros(len(texts) + 1, dtype=np.int64)
    block: list[bytes] = []
    first = size = 0
    for number, text in enumerate(texts):
        encoded = spaced(text).encode("utf-8", "surrogatepass")
        if block and size + len(encoded) > _BLOCK:
            hashes.append(_hash_block(block, counts[first + 1 : number + 1]))
            block, first, size = [], number, 0
        block.append(encoded)
        size += len(encoded) + 1
    if block:
        hashes.append(_hash_block(block, counts[first + 1 :]))
    joined = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
    return Words(joined, np.cumsum(counts))


def hash_letters(texts: Sequence[str]) -> Words:
    """Hash the letters of `texts`: each byte of their words, whatever is between words."""
    letters = []
    for text in texts:
        data = np.frombuffer(spaced(text).encode("utf-8", "surrogatepass"), dtype=np.uint8)
        data = _letters().take(data)
        letters.append(data[data != 0])
    starts = np.concatenate(([0], np.cumsum(list(map(len, letters))))).astype(np.int64)
    joined = np.concatenate(letters) if letters else np.empty(0, np.uint8)
    return Words(mix(joined.astype(np.uint64)), starts)


def windows(words: Words, size: int) -> Grams:
    """The windows of `size` words of each text; a shorter text is one window, an empty one none."""
    lengths = np.diff(words.starts)
    counts = np.where(lengths == 0, 0, np.maximum(lengths - size + 1, 1))
    starts = np.concatenate(([0], np.cumsum(counts)))
    # A window's position is its number plus the words that the texts before it have in excess.
    begin = np.arange(starts[-1]) + np.repeat(words.starts[:-1] - starts[:-1], counts)
    end = np.minimum(begin + size, np.repeat(words.starts[1:], counts))
    return Grams(words.spans(begin, end), starts, begin)


def text_windows(hashes: Hashes, size: int) -> Hashes:
    """(words - size + 1,) the windows of one text, as `windows` gives them of many."""
    begin = np.arange(len(hashes) - size + 1)
    return _stretches(_prefix(hashes), begin, begin + size)


def repeated_share(words: Words, size: int = 5) -> npt.NDArray[np.float64]:
    """Share of each text's words inside n-grams that the text has said before.

    After the duplicate n-gram rule of Rae et al. 2021 (Gopher), appendix A1. Unlike a share of
    repeated single words it does not grow with length.
    """
    lengths = np.diff(words.starts)
    grams = windows(words, size)
    owner = np.repeat(np.arange(len(lengths), dtype=np.uint64), np.diff(grams.starts))
    # Equal windows of different texts must differ, so that one search finds those said twice.
    of_text = grams.hashes ^ mix(owner)
    twice = _repeated(of_text)
    again = np.flatnonzero(is_member(of_text, twice))
    first = np.unique(of_text[again], return_index=True)[1]
    inside = covered(np.delete(grams.begin[again], first), size, len(words.hashes))
    before = np.concatenate(([0], np.cumsum(inside)))
    repeated = before[words.starts[1:]] - before[words.starts[:-1]]
    return repeated / np.maximum(lengths, 1)


def _repeated(values: Hashes) -> Hashes:
    """The values that occur more than once, sorted; quick where few do."""
    slot = (mix(values) >> np.uint64(64 - _SLOT_BITS)).astype(np.int32)
    last = np.empty(1 << _SLOT_BITS, dtype=np.int32)
    number = np.arange(len(values), dtype=np.int32)
    last[slot] = number
    shared = np.zeros(1 << _SLOT_BITS, dtype=bool)
    shared[slot[last[slot] != number]] = True
    ranked = np.sort(values[shared[slot]])
    return distinct(ranked[1:][ranked[1:] == ranked[:-1]])


def is_member(values: Hashes, ranked: Hashes) -> npt.NDArray[np.bool_]:
    """(values,) which values are in `ranked`, which is sorted."""
    if not len(ranked):
        return np.zeros(len(values), dtype=bool)
    near = np.searchsorted(ranked, values).clip(max=len(ranked) - 1)
    found: npt.NDArray[np.bool_] = ranked[near] == values
    return found


def covered(begin: Positions, size: int, length: int) -> npt.NDArray[np.bool_]:
    """(length,) which words are in windows of `size` words that begin at `begin`."""
    edges = np.bincount(begin, minlength=length + size + 1)
    edges -= np.bincount(begin + size, minlength=length + size + 1)
    return np.cumsum(edges)[:length] > 0


def distinct(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The distinct values, sorted (for numbers faster than `np.unique`, which hashes them)."""
    ranked = np.sort(values)
    new = np.ones(len(ranked), dtype=bool)
    new[1:] = ranked[1:] != ranked[:-1]
    return ranked[new]


def mix(numbers: Hashes) -> Hashes:
    """Spread numbers over all 64 bits, one to one (splitmix64, Steele et al. 2014)."""
    mixed = numbers + np.uint64(_BASE)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _hash_block(texts: Sequence[bytes], counts: Positions) -> Hashes:
    """Hash the words of a few texts, and write how many each has into `counts`."""
    # The blanks around make every word begin and end inside.
    data = _letters().take(np.frombuffer(b" " + b" ".join(texts) + b" ", dtype=np.uint8))
    inside = data != 0
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    begin, end = _trimmed(data, edges[0::2], edges[1::2])
    ends = np.cumsum([len(text) + 1 for text in texts]) + 1
    counts[:] = np.diff(np.searchsorted(begin, ends), prepend=0)
    return mix(_stretches(_prefix(data.astype(np.uint64)), begin, end))


def _trimmed(
    data: npt.NDArray[np.uint8], begin: Positions, end: Positions
) -> tuple[Positions, Positions]:
    """Words without the underscores around them; what has nothing else is no word."""
    lines = data == _UNDERSCORE
    if not lines.any():
        return begin, end
    signs = np.flatnonzero((data != 0) & ~lines)
    first, last = np.searchsorted(signs, begin), np.searchsorted(signs, end) - 1
    kept = first <= last
    return signs[first[kept]], signs[last[kept]] + 1


def _prefix(values: Hashes) -> Hashes:
    """(n + 1,) sums of `values[i] * base^i` before each place."""
    sums = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(values * _powers(len(values))[0], out=sums[1:])
    return sums


def _stretches(prefix: Hashes, begin: Positions, end: Positions) -> Hashes:
    inverse = _powers(len(prefix))[1]
    return (prefix[end] - prefix[begin]) * inverse[begin]


def _powers(count: int) -> tuple[Hashes, Hashes]:
    """(count,) powers of the base and of its inverse."""
    size = max(_BLOCK, 1 << max(count - 1, 1).bit_length())
    powers, inverse = _power_table(size)
    return powers[:count], inverse[:count]


@functools.lru_cache(maxsize=2)
def _power_table(size: int) -> tuple[Hashes, Hashes]:
    tables = []
    for base in (_BASE, pow(_BASE, -1, 2**64)):
        factors = np.full(size, base, dtype=np.uint64)
        factors[0] = 1
        tables.append(np.cumprod(factors))
    return tables[0], tables[1]


@functools.cache
def _letters() -> npt.NDArray[np.uint8]:
    """For each byte what stands for it inside words; 0 for what separates them."""
    table = np.zeros(256, dtype=np.uint8)
    for byte in range(256):
        sign = chr(byte)
        if byte >= 0x80:
            table[byte] = byte
        elif sign.isalnum() or byte == _UNDERSCORE:
            table[byte] = ord(sign.lower())
    return table
