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

from tasks.curate.text.ngrams import (
    Hashes,
    Positions,
    Words,
    covered,
    distinct,
    is_member,
    mix,
    windows,
)
from tasks.curate.text.normalise import comparable, raised
from tasks.records import INSTRUCTING, Labelled, Record

STEP = "deduplicate"

SHINGLE = 5
"""Words of an n-gram that is comparison."""
BANDS, ROWS = 16, 4
"""MinHash signature: a pair of similarity s becomes a candidate with 1 - (1 - s^4)^16: .988 at .7,
.9998 at .8, .34 at .4."""
FEWEST_SHINGLES = 4
"""Records with fewer are compared exactly only: one changed word makes a short text another."""
OWN_CONTAINED, OWN_SIMILARITY = 0.8, 0.5
"""Of records that fill a template: share of the fewer words beside it that both have to have, and
what the similarity of all of them has to exceed."""
FEW_WORDS, FEW_ROWS = 64, 3
"""Records with no more words beside a template become candidates by these words, too, with other
rows of the signature: 1 - (1 - s^3)^16, which is .88 at .5."""
ANSWER_SIMILARITY, SHORT_ANSWER, SHORT_SIMILARITY = 0.5, 10, 0.7
"""And that of the words of the last answers; of those with fewer words than ten, so that of five
words none may differ."""
_PREDECESSORS = 8  # of a bucket, that each of its members is compared with
_PAIRS = 5_000  # compared at once

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
        at = np.arange(starts[-1]) + np.repeat(self.starts[which] - starts[:-1], sizes)
        return Sets(self.values[at], starts)

    def distinct(self) -> "Sets":
        """Each set sorted, every element once."""
        tagged = distinct(self._tagged())
        counts = np.bincount(
            (tagged >> np.uint64(32)).astype(np.int64), minlength=len(self.starts) - 1
        )
        return Sets(tagged.astype(np.uint32), np.concatenate(([0], np.cumsum(counts))))

    def is_member(self, values: Numbers) -> Mask:
        """(elements,) which are among `values` (sorted)."""
        # Most elements are told by a glance at a table of the values' upper bits.
        bits = min(max(16, (16 * len(values)).bit_length()), 24)
        table = np.zeros(2**bits, dtype=bool)
        table[values >> np.uint32(32 - bits)] = True
        found: Mask = table[self.values >> np.uint32(32 - bits)]
        some = np.flatnonzero(found)
        near = np.searchsorted(values, self.values[some]).clip(max=len(values) - 1)
        found[some] = values[near] == self.values[some]
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

    def less(self, others: "Sets") -> "Sets":
        """Each set without what the other of its number has."""
        return self.keep(~is_member(self._tagged(), np.sort(others._tagged())))

    def _tagged(self) -> Hashes:
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
            at = 2 * (band * rows + row)
            permuted = shingled.values * (scale[at] | np.uint32(1)) + scale[at + 1]
            code = mix(code ^ np.minimum.reduceat(permuted, starts).astype(np.uint64))
        out[band, filled] = code >> np.uint64(32)
    return out


@dataclass(frozen=True, slots=True)
class Comparison:
    """What near-duplicates are found by, of all records or of some, given by their numbers.

    Attributes:
        number: of all records.
        band: one band's hashes of all records, of shingles without what templates share.
        shingles: in the order of the text.
        words: likewise.
        answers: the words of the last answers, each once; empty for what has none.
        structures: (records,) `structure_hash` of each; where it differs records are no duplicates.
        sort_key: what records are ordered by; the smallest of a cluster stays.
        contradict: of (2, pairs) records, and whether they fill one template: do they say different
            things in nearly the same words (`facts.contradict`)?
        frames: 5-grams of templates (`templates.frames`), sorted.
        similarity: from which on two records are linked.
    """

    number: int
    band: Callable[[int], Numbers]
    shingles: Callable[[Positions], Sets]
    words: Callable[[Positions], Sets]
    answers: Callable[[Positions], Sets]
    structures: Numbers
    sort_key: Callable[[Positions], Sequence[Any]]
    contradict: Callable[[Positions, Mask], Mask]
    frames: Numbers
    similarity: float

    def own_words(self, numbers: Positions) -> tuple[Sets, Sets]:
        """The words of each record that no template gives, and those that one gives."""
        words, shingled = self.words(numbers), self.shingles(numbers)
        general = np.flatnonzero(shingled.is_member(self.frames))
        # A shingle stands in its record where its first word does.
        owner = np.searchsorted(shingled.starts, general, side="right") - 1
        first = general - shingled.starts[owner] + words.starts[owner]
        given = covered(first, SHINGLE, len(words.values))
        return words.keep(~given), words.keep(given)

    def alike(self, pairs: Positions) -> npt.NDArray[np.float64]:
        """(pairs,) similarity of the records of each pair (2, pairs); 0 for no near-duplicates."""
        pairs = pairs.astype(np.int64)
        found = np.zeros(pairs.shape[1])
        left = np.flatnonzero(self.structures[pairs[0]] == self.structures[pairs[1]])
        filled = np.zeros(pairs.shape[1], dtype=bool)
        if len(self.frames):
            filled[left], left = self._own_alike(pairs, left)
        for begin in range(0, len(left), _PAIRS):
            some = left[begin : begin + _PAIRS]
            numbers, local = _local(pairs[:, some])
            similarity = jaccard(self.shingles(numbers).distinct(), local)
            found[some] = np.where(similarity >= self.similarity, similarity, 0)
            found[some[~self._answers_alike(numbers, local)]] = 0
        left = np.flatnonzero(found)
        found[left[self.contradict(pairs[:, left], filled[left])]] = 0
        return found

    def _own_alike(self, pairs: Positions, which: Positions) -> tuple[Mask, Positions]:
        """Which of the pairs `which` fill a template, and those that are alike without it."""
        kept, of_template = [which[:0]], np.zeros(len(which), dtype=bool)
        for begin in range(0, len(which), _PAIRS):
            some = which[begin : begin + _PAIRS]
            numbers, local = _local(pairs[:, some])
            own, given = (found.distinct() for found in self.own_words(numbers))
            either = (given.sizes()[local] > 0).any(axis=0)
            of_template[begin : begin + _PAIRS] = either
            mine, theirs = (own.take(side) for side in local)
            # What the other has of the template stands beside changed words of it, too.
            less = mine.less(given.take(local[1])), theirs.less(given.take(local[0]))
            left = (less[0].sizes() > 0) & (less[1].sizes() > 0)
            sizes = np.stack([mine.sizes(), theirs.sizes()])
            sizes = np.where(left, [less[0].sizes(), less[1].sizes()], sizes)
            both = np.where(left, common(*less), common(mine, theirs))
            near = both >= OWN_CONTAINED * sizes.min(axis=0)
            near &= both > OWN_SIMILARITY * (sizes.sum(axis=0) - both)
            near &= (sizes > 0).all(axis=0) | (sizes == 0).all(axis=0)
            kept.append(some[near | ~either])
        return of_template, np.concatenate(kept)

    def _answers_alike(self, numbers: Positions, local: Positions) -> Mask:
        said = self.answers(numbers)
        sizes = said.sizes()[local]
        short = sizes.max(axis=0, initial=0) < SHORT_ANSWER
        enough = np.where(short, SHORT_SIMILARITY, ANSWER_SIMILARITY)
        silent = ~(sizes > 0).any(axis=0)
        answered: Mask = silent | (jaccard(said, local) >= enough)
        return answered


def bands_without(shingled: Sets, frames: Numbers, known: Numbers) -> Numbers:
    """`bands` of the sets without what templates give; what has nothing else stays whole.

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


def near_duplicates(comparison: Comparison, candidates: Positions) -> Clusters:
    """Find near-duplicates among `candidates` (ascending numbers)."""
    links: list[Hashes] = []
    known: list[npt.NDArray[np.float64]] = []
    asked = np.empty(0, dtype=np.uint64)
    filled, signatures = _own_bands(comparison, candidates)
    for which in range(2 * BANDS):
        if which < BANDS:
            found = _bucket_pairs(comparison.band(which)[candidates], candidates)
        else:
            found = _bucket_pairs(signatures[which - BANDS], filled)
        found = np.setdiff1d(found, asked)
        asked = np.union1d(asked, found)
        alike = comparison.alike(_unpack(found))
        links.append(found[alike > 0])
        known.append(alike[alike > 0])
    return _clusters(comparison, np.concatenate(links), np.concatenate(known))


def _own_bands(comparison: Comparison, candidates: Positions) -> tuple[Positions, Numbers]:
    """Those that fill a template with few words of their own, and the bands of these words.

    Few words make few shingles, most of which one changed word is in: single words find the copy.
    """
    kept, found = [candidates[:0]], [np.empty((BANDS, 0), dtype=np.uint32)]
    if len(comparison.frames):
        for begin in range(0, len(candidates), _PAIRS):
            some = candidates[begin : begin + _PAIRS]
            own, given = comparison.own_words(some)
            sizes = own.sizes()
            few = np.flatnonzero((given.sizes() > 0) & (sizes > 0) & (sizes <= FEW_WORDS))
            kept.append(some[few])
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


def _local(pairs: Positions) -> tuple[Positions, Positions]:
    """The distinct numbers in `pairs`, ascending, and the pairs as places among them."""
    numbers, local = np.unique(pairs, return_inverse=True)
    return numbers, local.reshape(pairs.shape)


def jaccard(of: Sets, pairs: Positions) -> npt.NDArray[np.float64]:
    """(pairs,) exact similarity of the sets of each pair (2, pairs); of two empty ones 0."""
    mine, theirs = (of.take(side) for side in pairs)
    both = common(mine, theirs)
    return np.asarray(both / np.maximum(mine.sizes() + theirs.sizes() - both, 1))


def common(mine: Sets, theirs: Sets) -> Positions:
    """(sets,) number of elements that each set has in common with the other of its number."""
    count = len(mine.starts) - 1
    tagged = np.sort(np.concatenate([mine._tagged(), theirs._tagged()]))
    twice = tagged[1:][tagged[1:] == tagged[:-1]] >> np.uint64(32)
    return np.bincount(twice.astype(np.int64), minlength=count)


def _clusters(comparison: Comparison, packed: Hashes, known: npt.NDArray[np.float64]) -> Clusters:
    """Connected components of links (`packed`, of `known` similarity); in each the smallest stays
    in place of those that are like it.

    A chain of small changes may link records that have little in common. What is not like the one
    that stays is looked at anew, so that every drop can be checked against what was kept for it.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    kept = np.arange(comparison.number)
    similarity = np.ones(comparison.number, dtype=np.float32)
    order = np.argsort(packed)
    packed, known = packed[order], known[order]
    links = _unpack(packed)
    members, local = _local(links)
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
        asked = np.sort(pairs.astype(np.uint64), axis=0)
        asked = asked[0] << np.uint64(32) | asked[1]
        linked = is_member(asked, packed)
        alike = np.empty(len(asked))
        alike[linked] = known[np.searchsorted(packed, asked[linked])]
        alike[~linked] = comparison.alike(pairs[:, ~linked])
        gone = alike > 0
        kept[pairs[0, gone]] = pairs[1, gone]
        similarity[pairs[0, gone]] = alike[gone]
        left = left[others[~gone]]
    return Clusters(kept, similarity)
