"""Near-duplicates: of records that say nearly the same, the one with the smallest id stays.

Records with an equal MinHash band (`signatures`) are candidates only; the exact Jaccard similarity
of their word 5-grams then decides. Of records linked by such pairs the smallest id stays in place
of all that are like it; what is like it only through others is compared again.

What many records share says nothing about two of them. So two records are duplicates only where
they are alike without the template that they fill, too (`templates`), and, for chats, where their
last answers are alike: a template with another label or another content is another record. Nor are
records that contradict each other duplicates (`facts`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.curate.steps.duplicates.comparison import PAIRS_AT_ONCE, Comparison, local_pairs
from tasks.curate.steps.duplicates.sets import Numbers
from tasks.curate.steps.duplicates.signatures import BANDS, bands
from tasks.curate.text.ngrams import Hashes, Positions, distinct, is_member

FEWEST_SHINGLES = 4
"""Records with fewer are compared exactly only: one changed word makes a short text another."""
FEW_WORDS, FEW_ROWS = 64, 3
"""Records with no more words beside a template become candidates by these words, too, with other
rows of the signature: 1 - (1 - s^3)^16, which is .88 at .5."""

_PREDECESSORS = 8  # of a bucket, that each of its members is compared with


@dataclass(frozen=True, slots=True)
class Clusters:
    """What near-duplicates were found.

    Attributes:
        kept: (records,) number of the record that stays in each one's place; its own if it stays.
        similarity: (records,) exact Jaccard similarity to that record.
    """

    kept: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float32]


def find_near_duplicates(comparison: Comparison, candidates: Positions) -> Clusters:
    """Find near-duplicates among `candidates` (ascending numbers): those with an equal band are
    compared, and those that are alike are linked."""
    links: list[Hashes] = []
    known: list[npt.NDArray[np.float64]] = []
    compared = np.empty(0, dtype=np.uint64)
    filled, signatures = _own_bands(comparison, candidates)
    for which in range(2 * BANDS):
        if which < BANDS:
            found = _bucket_pairs(comparison.band(which)[candidates], candidates)
        else:
            found = _bucket_pairs(signatures[which - BANDS], filled)
        found = np.setdiff1d(found, compared)
        compared = np.union1d(compared, found)
        alike = comparison.alike(_unpack(found))
        links.append(found[alike > 0])
        known.append(alike[alike > 0])
    return _clusters(comparison, np.concatenate(links), np.concatenate(known))


def _own_bands(comparison: Comparison, candidates: Positions) -> tuple[Positions, Numbers]:
    """Records with few words beside a template, and the bands of these words.

    Few words make few shingles, most of which one changed word is in: single words find the copy.
    """
    kept, found = [candidates[:0]], [np.empty((BANDS, 0), dtype=np.uint32)]
    if len(comparison.frames):
        for begin in range(0, len(candidates), PAIRS_AT_ONCE):
            batch = candidates[begin : begin + PAIRS_AT_ONCE]
            own, given = comparison.own_words(batch)
            sizes = own.sizes()
            few = np.flatnonzero((given.sizes() > 0) & (sizes > 0) & (sizes <= FEW_WORDS))
            kept.append(batch[few])
            found.append(bands(own.take(few), FEW_ROWS))
    return np.concatenate(kept), np.concatenate(found, axis=1)


def _bucket_pairs(hashes: Numbers, numbers: Positions) -> Hashes:
    """Pairs of records in one bucket (but 0), packed into 64 bits (smaller number first)."""
    filled = hashes != 0
    hashes, numbers = hashes[filled], numbers[filled]
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


def _clusters(comparison: Comparison, packed: Hashes, known: npt.NDArray[np.float64]) -> Clusters:
    """Connected components of links; in each the smallest record stays for those that are like it.

    A chain of small changes may link records that have little in common. What is not like the one
    that stays is compared again, so that every drop can be checked against what was kept for it.

    Example: records 0 to 4, where 0.8 and so on are the similarities of the links::

        0 --0.8-- 2 --0.9-- 3 --0.7-- 4        1 has no link and is in no component

        round 1    the smallest of {0, 2, 3, 4} is 0; the others are compared with it:
                   2 is linked, 0.8; 3 is not linked, but comparing gives 0.75; 4 gives 0
                   → 2 and 3 are dropped for 0; 4 is left
        round 2    {4} alone: it stays

        kept         [0, 1, 0, 0, 4]
        similarity   [1, 1, 0.8, 0.75, 1]

    Args:
        comparison: compares pairs that are not linked.
        packed: the links, each the two numbers of its records in 64 bits.
        known: (links,) their similarities.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    kept = np.arange(comparison.number)
    similarity = np.ones(comparison.number, dtype=np.float32)
    order = np.argsort(packed)
    packed, known = packed[order], known[order]
    links = _unpack(packed)
    members, local = local_pairs(links)
    if not len(members):
        return Clusters(kept, similarity)
    graph = coo_array((np.ones(links.shape[1], bool), (local[0], local[1])), (len(members),) * 2)
    component = connected_components(graph, directed=False)[1]
    rank = np.empty(len(members), dtype=np.int64)
    keys = comparison.sort_key(members)
    rank[sorted(range(len(members)), key=keys.__getitem__)] = np.arange(len(members))
    left = np.lexsort((rank, component))
    while len(left) > 1:
        first = np.flatnonzero(np.diff(component[left], prepend=-1))
        stays = np.repeat(left[first], np.diff(np.append(first, len(left))))
        others = np.flatnonzero(stays != left)
        pairs = members[np.stack([left[others], stays[others]])]
        compared = np.sort(pairs.astype(np.uint64), axis=0)
        compared = compared[0] << np.uint64(32) | compared[1]
        linked = is_member(compared, packed)
        alike = np.empty(len(compared))
        alike[linked] = known[np.searchsorted(packed, compared[linked])]
        alike[~linked] = comparison.alike(pairs[:, ~linked])
        gone = alike > 0
        kept[pairs[0, gone]] = pairs[1, gone]
        similarity[pairs[0, gone]] = alike[gone]
        left = left[others[~gone]]
    return Clusters(kept, similarity)
