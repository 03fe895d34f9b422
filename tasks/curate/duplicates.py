"""Duplicates: of records that say the same, or nearly, the one with the smallest id stays.

Exact on normalised text. Near by MinHash (Broder 1997, "On the resemblance and containment of
documents") over word 5-grams, banded for locality-sensitive hashing (Leskovec, Rajaraman & Ullman,
"Mining of Massive Datasets", section 3.4): candidates only, of which the exact Jaccard similarity
then decides. Of records linked by such pairs the smallest id stays in place of all that are like
it; what is like it only through others is looked at anew.

What many records share says nothing about two of them. So two records are duplicates only where
they are alike without boilerplate, too (5-grams that a twentieth of a sample of records has), and,
for chats, where their last answers are alike: a template with another label or another content is
another record.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from tasks.curate.ngrams import Hashes, Positions, Words, distinct, mix, windows
from tasks.curate.normalise import comparable
from tasks.records import INSTRUCTING, Labelled, Record

STEP = "deduplicate"

SHINGLE = 5
"""Words of an n-gram that is compared."""
BANDS, ROWS = 16, 4
"""MinHash signature: a pair of similarity s becomes a candidate with 1 - (1 - s^4)^16: .988 at .7,
.9998 at .8, .34 at .4."""
FEWEST_SHINGLES = 4
"""Records with fewer are compared exactly only: one changed word makes a short text another."""
OWN_SIMILARITY = 0.5
"""Similarity without boilerplate that a duplicate needs besides."""
ANSWER_SIMILARITY, SHORT_ANSWER, SHORT_SIMILARITY = 0.5, 10, 0.7
"""And that of the words of the last answers; of those with fewer words than ten, so that of five
words none may differ."""
SAMPLE, SHARED, FEWEST_SHARING = 2000, 0.05, 20
"""Boilerplate: 5-grams of more than this share of a sample, and of more records than this."""

_PREDECESSORS = 8  # of a bucket, that each of its members is compared with
_PAIRS = 5_000  # compared at once

Numbers: TypeAlias = npt.NDArray[np.uint32]


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
        at = np.arange(starts[-1]) + np.repeat(self.starts[which] - starts[:-1], sizes)
        return Sets(self.values[at], starts)

    def distinct(self) -> "Sets":
        """Each set sorted, every element once."""
        owner = np.repeat(np.arange(len(self.starts) - 1, dtype=np.uint64), self.sizes())
        tagged = distinct(owner << np.uint64(32) | self.values.astype(np.uint64))
        counts = np.bincount(
            (tagged >> np.uint64(32)).astype(np.int64), minlength=len(self.starts) - 1
        )
        return Sets(tagged.astype(np.uint32), np.concatenate(([0], np.cumsum(counts))))

    def without(self, values: Numbers, spare: int = 0) -> "Sets":
        """The sets less `values` (sorted); one that would have fewer than `spare` stays whole."""
        if not len(values):
            return self
        near = np.searchsorted(values, self.values).clip(max=len(values) - 1)
        kept = values[near] != self.values
        left = np.concatenate(([0], np.cumsum(kept)))[self.starts]
        kept |= np.repeat(np.diff(left) < spare, self.sizes())
        counts = np.concatenate(([0], np.cumsum(kept)))
        return Sets(self.values[kept], counts[self.starts])


@dataclass(frozen=True, slots=True)
class Clusters:
    """What near-duplicates were found.

    Attributes:
        kept: (records,) number of the record that stays in each one's place; its own if it stays.
        similarity: (records,) exact Jaccard similarity to that record.
    """

    kept: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float32]


def content_key(record: Record) -> bytes:
    """16 bytes, equal for records that say the same in the same roles (tool calls included)."""
    text = orjson.dumps(record.mapped(comparable).content(), option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).digest()


def shape(record: Record) -> int:
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


def boilerplate(sample: Sets) -> Numbers:
    """5-grams that so many records of the sample have that they tell nothing of any; sorted."""
    values, counts = np.unique(sample.values, return_counts=True)
    enough = max(FEWEST_SHARING, SHARED * (len(sample.starts) - 1))
    found: Numbers = values[counts > enough]
    return found


def own(shingled: Sets, general: Numbers) -> Sets:
    """The sets without boilerplate; what is hardly anything else stays as it is."""
    return shingled.without(general, spare=FEWEST_SHINGLES)


def bands(shingled: Sets) -> Numbers:
    """(BANDS, records) one hash a band; records with equal hashes in any band are candidates.

    An empty set has the hash 0.
    """
    filled = np.flatnonzero(shingled.sizes())
    out = np.zeros((BANDS, len(shingled.starts) - 1), dtype=np.uint32)
    if not len(filled):
        return out
    scale = mix(np.arange(2 * BANDS * ROWS, dtype=np.uint64)).astype(np.uint32)
    starts = shingled.starts[:-1][filled]
    for band in range(BANDS):
        code = np.zeros(len(filled), dtype=np.uint64)
        for row in range(ROWS):
            at = 2 * (band * ROWS + row)
            permuted = shingled.values * (scale[at] | np.uint32(1)) + scale[at + 1]
            code = mix(code ^ np.minimum.reduceat(permuted, starts).astype(np.uint64))
        out[band, filled] = code >> np.uint64(32)
    return out


def near_duplicates(
    number: int,
    band: Callable[[int], Numbers],
    candidates: Positions,
    gather: Callable[[Positions], Sets],
    answers: Callable[[Positions], Sets],
    shapes: Numbers,
    general: Numbers,
    order: Callable[[Positions], Sequence[Any]],
    similarity: float,
) -> Clusters:
    """Find near-duplicates among `candidates`.

    Args:
        number: of all records.
        band: gives the hashes of one band for all records.
        candidates: numbers of the records that are compared, ascending.
        gather: gives the shingles of these records.
        answers: gives the words of their last answers; empty for what has none.
        shapes: (records,) `shape` of each; those of different shapes are no duplicates.
        general: boilerplate, sorted.
        order: gives what records are ordered by; the smallest of a cluster stays.
        similarity: from which on two records are linked.
    """
    links: list[Positions] = [np.empty((2, 0), dtype=np.int64)]
    asked = np.empty(0, dtype=np.uint64)
    for which in range(BANDS):
        found = np.setdiff1d(_bucket_pairs(band(which)[candidates], candidates), asked)
        asked = np.union1d(asked, found)
        for begin in range(0, len(found), _PAIRS):
            pairs = _unpack(found[begin : begin + _PAIRS])
            pairs = pairs[:, shapes[pairs[0]] == shapes[pairs[1]]]
            alike = _alike(pairs, gather, answers, general, similarity)
            links.append(pairs[:, alike])
    return _clusters(number, np.concatenate(links, axis=1), gather, order, similarity)


def _bucket_pairs(hashes: Numbers, numbers: Positions) -> Hashes:
    """Pairs of records in one bucket, packed into 64 bits (smaller number first), distinct."""
    packed = np.sort(hashes.astype(np.uint64) << np.uint64(32) | numbers.astype(np.uint64))
    bucket, member = packed >> np.uint64(32), packed & np.uint64(0xFFFFFFFF)
    found = []
    for back in range(1, _PREDECESSORS + 1):
        same = np.flatnonzero(bucket[back:] == bucket[:-back])
        if not len(same):
            break
        found.append(member[same] << np.uint64(32) | member[same + back])
    return distinct(np.concatenate(found)) if found else np.empty(0, dtype=np.uint64)


def _unpack(pairs: Hashes) -> Positions:
    """(2, pairs) the two numbers of each."""
    return np.stack([pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)]).astype(np.int64)


def _alike(
    pairs: Positions,
    gather: Callable[[Positions], Sets],
    answers: Callable[[Positions], Sets],
    general: Numbers,
    similarity: float,
) -> npt.NDArray[np.bool_]:
    numbers, local = np.unique(pairs, return_inverse=True)
    local = local.reshape(pairs.shape)
    shingled = gather(numbers)
    alike = jaccard(shingled, local) >= similarity
    if len(general):
        alike &= jaccard(own(shingled, general), local) >= OWN_SIMILARITY
    said = answers(numbers)
    sizes = said.sizes()[local]
    enough = np.where(
        sizes.max(axis=0, initial=0) < SHORT_ANSWER, SHORT_SIMILARITY, ANSWER_SIMILARITY
    )
    return alike & (~(sizes > 0).any(axis=0) | (jaccard(said, local) >= enough))


def jaccard(of: Sets, pairs: Positions) -> npt.NDArray[np.float64]:
    """(pairs,) exact similarity of the sets of each pair (2, pairs); of two empty ones 0."""
    mine, theirs = (of.take(side) for side in pairs)
    both = common(mine, theirs)
    return both / np.maximum(mine.sizes() + theirs.sizes() - both, 1)


def common(mine: Sets, theirs: Sets) -> Positions:
    """(sets,) number of elements that each set has in common with the other of its number."""
    count = len(mine.starts) - 1
    owner = [np.repeat(np.arange(count, dtype=np.uint64), one.sizes()) for one in (mine, theirs)]
    values = np.concatenate([mine.values, theirs.values]).astype(np.uint64)
    tagged = np.sort(np.concatenate(owner) << np.uint64(32) | values)
    twice = tagged[1:][tagged[1:] == tagged[:-1]] >> np.uint64(32)
    return np.bincount(twice.astype(np.int64), minlength=count)


def _clusters(
    number: int,
    links: Positions,
    gather: Callable[[Positions], Sets],
    order: Callable[[Positions], Sequence[Any]],
    enough: float,
) -> Clusters:
    """Connected components; in each the smallest stays in place of those that are like it.

    A chain of small changes may link records that have little in common. What is not like the one
    that stays is looked at anew, so that every drop can be checked against what was kept for it.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    kept = np.arange(number)
    similarity = np.ones(number, dtype=np.float32)
    members, local = np.unique(links, return_inverse=True)
    if not len(members):
        return Clusters(kept, similarity)
    local = local.reshape(links.shape)
    graph = coo_array((np.ones(links.shape[1], bool), (local[0], local[1])), (len(members),) * 2)
    component = connected_components(graph, directed=False)[1]
    rank = np.empty(len(members), dtype=np.int64)
    keys = order(members)
    rank[sorted(range(len(members)), key=keys.__getitem__)] = np.arange(len(members))
    left = np.lexsort((rank, component))
    while len(left) > 1:
        first = np.flatnonzero(np.diff(component[left], prepend=-1))
        stays = np.repeat(left[first], np.diff(np.append(first, len(left))))
        others = np.flatnonzero(stays != left)
        pairs = np.stack([left[others], stays[others]])
        alike = np.concatenate(
            [
                _similarity(members, pairs[:, begin : begin + _PAIRS], gather)
                for begin in range(0, len(others), _PAIRS)
            ]
            or [np.empty(0)]
        )
        gone = alike >= enough
        kept[members[pairs[0, gone]]] = members[pairs[1, gone]]
        similarity[members[pairs[0, gone]]] = alike[gone]
        left = left[others[~gone]]
    return Clusters(kept, similarity)


def _similarity(
    members: Positions, pairs: Positions, gather: Callable[[Positions], Sets]
) -> npt.NDArray[np.float64]:
    numbers, local = np.unique(members[pairs], return_inverse=True)
    return jaccard(gather(numbers), local.reshape(pairs.shape))
