"""The kernel that feeds rensa, which hashes no text itself: word 5-grams of many texts in NumPy.

Texts are joined into blocks that stay in the processor's cache, and everything is done for the
whole block at once: which bytes belong to words, a hash of each word from differences of one prefix
sum, and of each window of five from its words' hashes. The block's text is lower-cased first; a
byte of a letter outside ASCII counts as part of a word.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.curation.variants import SHINGLE

BLOCK = 256 * 1024
_BASE = 0x9E3779B97F4A7C15
_MODULUS = 2**64
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT = np.uint64(31)
_TYPE = np.array(
    [byte >= 128 or chr(byte).isalnum() or byte == ord("_") for byte in range(256)], dtype=bool
)

Hashes = npt.NDArray[np.uint64]


def shingle_blocks(texts: Sequence[str]) -> Iterator[tuple[Hashes, Hashes]]:
    """The shingles' hashes of consecutive texts, block by block.

    Yields:
        hashes, flat, repeats included; and offsets: those of text i of the block are
        `hashes[offsets[i]:offsets[i + 1]]`. A text of fewer than five words has none.
    """
    powers = _Powers()
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= BLOCK:
            yield _shingles(block, powers)
            block, size = [], 0
    if block:
        yield _shingles(block, powers)


class _Powers:
    """Powers of the base and of its inverse modulo 2^64, as far as they were needed."""

    def __init__(self) -> None:
        self._size = 0

    def upto(self, size: int) -> tuple[Hashes, Hashes]:
        if size > self._size:
            self._size = 2 * size
            self._up = _powers(_BASE, self._size)
            self._down = _powers(pow(_BASE, -1, _MODULUS), self._size)
        return self._up[:size], self._down


def _powers(base: int, count: int) -> Hashes:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


def _shingles(texts: Sequence[str], powers: _Powers) -> tuple[Hashes, Hashes]:
    encoded = [text.lower().encode("utf-8", "surrogatepass") for text in texts]
    data = np.frombuffer(b"\n" + b"\n".join(encoded) + b"\n", dtype=np.uint8)
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)) + 1
    ends_of_texts = np.cumsum(lengths) + 1
    inside = _TYPE[data].view(np.int8)
    borders = np.flatnonzero(np.diff(inside)) + 1  # begins and ends in turn
    begins, ends = borders[::2], borders[1::2]
    up, down = powers.upto(len(data))
    sums = np.empty(len(data) + 1, dtype=np.uint64)
    sums[0] = 0
    np.cumsum(up * data, out=sums[1:])
    words = (sums[ends] - sums[begins]) * down[begins]
    words ^= words >> _SHIFT
    words *= _MIX
    windows = max(len(words) - SHINGLE + 1, 0)
    hashes = np.zeros(windows, dtype=np.uint64)
    for at in range(SHINGLE):
        hashes *= up[1]
        hashes += words[at : at + windows]
    hashes ^= hashes >> _SHIFT
    hashes *= _MIX
    # Words before the end of each text; windows that reach over an end are left out.
    upto = np.searchsorted(begins, ends_of_texts)
    text_of = np.repeat(np.arange(len(texts)), np.diff(upto, prepend=0))
    whole = text_of[:windows] == text_of[SHINGLE - 1 :]
    counts = np.maximum(np.diff(upto, prepend=0) - SHINGLE + 1, 0)
    offsets = np.zeros(len(texts) + 1, dtype=np.uint64)
    offsets[1:] = np.cumsum(counts)
    return hashes[whole], offsets
