"""What records are compared by before any two of them are: keys of equal content, MinHash bands.

MinHash: Broder 1997, "On the resemblance and containment of documents"; banded for
locality-sensitive hashing: Leskovec, Rajaraman & Ullman, "Mining of Massive Datasets", section 3.4.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from tasks.curate.steps.duplicates.sets import Numbers, Sets
from tasks.curate.text.ngrams import Hashes, Positions, Words, mix, windows
from tasks.curate.text.normalise import comparable, raised
from tasks.records import INSTRUCTING, Labelled, Record

SHINGLE = 5
"""Words of the n-grams that are compared."""
BANDS, ROWS = 16, 4
"""MinHash signature: a pair of similarity s becomes a candidate with 1 - (1 - s^4)^16: .988 at .7,
.9998 at .8, .34 at .4."""


def content_key(record: Record) -> bytes:
    """16 bytes, equal for records that say the same in the same roles (tool calls included)."""
    text = orjson.dumps(record.mapped(_same).content(), option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).digest()


def _same(text: str) -> str:
    return comparable(raised(text))


def structure_hash(record: Record) -> int:
    """32 bits, equal for records of the same kind, roles, tool calls, weights and label, whatever
    they say."""
    form: list[Any] = [record.kind, record.label if isinstance(record, Labelled) else None]
    for turn in record.turns:
        if turn.role not in INSTRUCTING:
            calls = [call.message() for call in turn.tool_calls]
            form.append([turn.role, turn.learn, calls])
    text = orjson.dumps(form, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")


def same_content(keys: Hashes) -> Iterator[Positions]:
    """Numbers of the records of each content that more than one has, ascending.

    Args:
        keys: (records, 2) the halves of `content_key`.
    """
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    ranked = keys[order]
    edges = np.flatnonzero((ranked[1:] != ranked[:-1]).any(axis=1)) + 1
    borders = np.concatenate(([0], edges, [len(order)]))
    for group in np.flatnonzero(np.diff(borders) > 1).tolist():
        yield np.sort(order[borders[group] : borders[group + 1]])


def shingles(words: Words) -> Sets:
    """The word 5-grams of each text."""
    grams = windows(words, SHINGLE)
    return Sets((mix(grams.hashes) >> np.uint64(32)).astype(np.uint32), grams.starts)


def single_words(words: Words) -> Sets:
    """The words of each text."""
    return Sets((words.hashes >> np.uint64(32)).astype(np.uint32), words.starts)


def bands(shingled: Sets, rows: int = ROWS) -> Numbers:
    """(BANDS, records) one hash a band; records with equal hashes in any band are candidates.

    An empty set has the hash 0.
    """
    filled = np.flatnonzero(shingled.sizes())
    out = np.zeros((BANDS, len(shingled.starts) - 1), dtype=np.uint32)
    if not len(filled):
        return out
    scale = mix(np.arange(2 * BANDS * rows, dtype=np.uint64)).astype(np.uint32)
    starts = shingled.starts[:-1][filled]
    for band in range(BANDS):
        code = np.zeros(len(filled), dtype=np.uint64)
        for row in range(rows):
            i = 2 * (band * rows + row)
            permuted = shingled.values * (scale[i] | np.uint32(1)) + scale[i + 1]
            code = mix(code ^ np.minimum.reduceat(permuted, starts).astype(np.uint64))
        out[band, filled] = code >> np.uint64(32)
    return out


def bands_without(shingled: Sets, frames: Numbers, known: Numbers) -> Numbers:
    """`bands` of the sets without the 5-grams of templates; sets of nothing else stay whole.

    Args:
        shingled: the sets.
        frames: 5-grams of templates, sorted.
        known: `bands` of the whole sets.
    """
    given = shingled.is_member(frames)
    counts = shingled.counts(given)
    filled = np.flatnonzero((counts > 0) & (counts < shingled.sizes()))
    found = np.array(known)
    found[:, filled] = bands(shingled.keep(~given).take(filled))
    return found
