"""Templates: word 5-grams that records share because they are filled from one form.

Three records show a template, however long it is. What two of them share the third has, too, and
what the two differ by no other has. Copies of one record with changed words look otherwise: where
two copies differ, a third has what one of them has, since each change is in one copy only.

So records that are alike are put into groups (records of one MinHash bucket, or with equal first
5-grams), and pairs of a group are compared with the others that have what both have. Take three
records of one template, and an original with two copies (each letter a 5-gram)::

    F F F F x x     A            O O O O O O    original
    F F F F y y     B            O O p O O O    copy
    F F F F z z     C            O O O O q O    copy

    A, B differ by x, y: C has neither          the copies differ by p, q and two of the original,
    (support 0)                                 which the third record has (support 1/2)

The 5-grams of a template, found so, are set aside and the rest is grouped anew, which finds a
template inside another (a licence before every file, an instruction below it).
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from tasks.curate.steps.duplicates.sets import Numbers, Sets
from tasks.curate.steps.duplicates.signatures import BANDS, bands
from tasks.curate.text.ngrams import Hashes, Positions, distinct

SUPPORT = 0.3
"""Share of what two records differ by that others have; below it they fill one template."""
SHARING = 0.8
"""Share of what two records have in common that another needs to be a witness about them."""
FEWEST_COMMON, SLOT = 4, 2
"""5-grams that two records need in common, and words that each needs alone: a change of one word
is a copy's."""
PAIRS = 3
"""Pairs of a group that have to be evidence of a template (all pairs of three records)."""
PAIR_SHARE = 0.5
"""And their share of the pairs about which there are witnesses."""

_ROUNDS = 4
_SAMPLE = 16  # records of a group that are compared
_LOOKS = 4  # samples that each record of a group has been in, after which it is skipped
_NEXT = 3  # of these that each is paired with
_AT_ONCE = 4_000  # records whose sets are read at once

GetSets = Callable[[Positions], Sets]


def frames(
    candidates: Positions,
    band: Callable[[int], Numbers],
    get_shingles: GetSets,
    get_words: GetSets,
    keys: Hashes,
) -> Numbers:
    """The word 5-grams of all templates that are found, sorted.

    The outcome depends on the records alone, not on their order.

    Args:
        candidates: numbers of the records, ascending.
        band: gives one column of bucket hashes of all records; there are `BANDS` of them, and one
            more of the records' first 5-grams.
        get_shingles: gives the shingles of these records in the order of the text.
        get_words: gives their words, likewise.
        keys: (records,) hash of what each says, by which samples are drawn.
    """
    found = np.empty(0, dtype=np.uint32)
    numbers = candidates
    columns = [band(which)[numbers] for which in range(BANDS + 1)]
    for _ in range(_ROUNDS):
        new = _round(numbers, columns, get_shingles, get_words, keys, found)
        if not len(new):
            break
        found = np.union1d(found, new)
        numbers, columns = _changed(numbers, get_shingles, found, new)
    return found


def _round(
    numbers: Positions,
    columns: list[Numbers],
    get_shingles: GetSets,
    get_words: GetSets,
    keys: Hashes,
    known: Numbers,
) -> Numbers:
    """5-grams of the templates among `numbers`, which are not `known`."""
    found = [np.empty(0, dtype=np.uint32)]
    for groups in _batches(_groups(columns, keys[numbers])):
        members = numbers[np.unique(np.concatenate(groups))]
        shingled, words = get_shingles(members).without(known), get_words(members)
        for group in groups:
            which = np.searchsorted(members, numbers[group])
            found.append(_shared(shingled.take(which), words.take(which)))
    new: Numbers = distinct(np.concatenate(found))
    return new


def _groups(columns: list[Numbers], keys: Hashes) -> Iterator[Positions]:
    """Records with equal hashes in a column, three at least; of many a sample; none twice."""
    seen: set[bytes] = set()
    samples = np.zeros(len(keys), dtype=np.int8)
    for column in columns[::-1]:  # equal beginnings first: they are the largest groups
        order = np.lexsort((keys, column))
        ranked = column[order]
        borders = np.flatnonzero(np.diff(ranked, prepend=ranked[:1] + 1, append=ranked[-1:] + 1))
        sizes = np.diff(borders)
        for which in np.flatnonzero(sizes >= 3).tolist():
            begin = borders[which]
            group = order[begin : begin + min(sizes[which], _SAMPLE)]
            name = np.sort(group).tobytes()
            # Hash 0 has what is empty.
            if ranked[begin] and name not in seen and samples[group].min() < _LOOKS:
                seen.add(name)
                samples[group] += 1
                yield group


def _batches(groups: Iterator[Positions]) -> Iterator[list[Positions]]:
    batch: list[Positions] = []
    size = 0
    for group in groups:
        batch.append(group)
        size += len(group)
        if size > _AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _shared(shingled: Sets, words: Sets) -> Numbers:
    """5-grams of the template that the records of a group fill; empty where there is none."""
    values, has = _table(shingled)
    left, right = _pairs(len(has))
    both = has[left] * has[right]
    common = both.sum(axis=1)
    others = (both @ has.T >= SHARING * common[:, None]).astype(np.float32)
    rows = np.arange(len(left))
    others[rows, left] = others[rows, right] = 0
    witnesses = others.sum(axis=1)
    having = others @ has
    differing = has[left] + has[right] - 2 * both
    support = (having * differing).sum(axis=1) / np.maximum(witnesses * differing.sum(axis=1), 1)
    seen = (common >= FEWEST_COMMON) & (witnesses > 0)
    filled = seen & (support < SUPPORT)
    enough = max(PAIRS, PAIR_SHARE * seen.sum())
    if filled.sum() < enough:
        return np.empty(0, dtype=np.uint32)
    has_word = _table(words)[1]
    alone = 2 * (others @ has_word) < witnesses[:, None]
    for first, second in ((left, right), (right, left)):
        slot = has_word[first] * (1 - has_word[second]) * alone
        filled &= slot.sum(axis=1) >= SLOT
    if filled.sum() < enough:
        return np.empty(0, dtype=np.uint32)
    general = (both[filled] > 0) & (2 * having[filled] >= witnesses[filled, None])
    found: Numbers = values[general.any(axis=0)]
    return found


def _table(sets: Sets) -> tuple[Numbers, npt.NDArray[np.float32]]:
    """The distinct elements of all sets, and (sets, elements) 1 where a set has the element."""
    values, column = np.unique(sets.values, return_inverse=True)
    has = np.zeros((len(sets.starts) - 1, len(values)), dtype=np.float32)
    has[np.repeat(np.arange(len(has)), sets.sizes()), column] = 1
    return values, has


def _pairs(count: int) -> tuple[Positions, Positions]:
    """All pairs of a small group, of a larger one each record with the next three around."""
    left, right = np.triu_indices(count, 1)
    near = (right - left <= _NEXT) | (right - left >= count - _NEXT)
    return left[near], right[near]


def _changed(
    numbers: Positions, get_shingles: GetSets, known: Numbers, new: Numbers
) -> tuple[Positions, list[Numbers]]:
    """Of `numbers` those that have any of `new`, and the columns of what is left of them."""
    kept, columns = [np.empty(0, dtype=np.int64)], [np.empty((BANDS + 1, 0), dtype=np.uint32)]
    for begin in range(0, len(numbers), _AT_ONCE):
        batch = numbers[begin : begin + _AT_ONCE]
        shingled = get_shingles(batch)
        hit = shingled.counts(shingled.is_member(new)) > 0
        left = shingled.take(np.flatnonzero(hit)).without(known)
        kept.append(batch[hit])
        columns.append(np.vstack([bands(left), left.first()]))
    return np.concatenate(kept), list(np.concatenate(columns, axis=1))
