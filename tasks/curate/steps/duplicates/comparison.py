"""Whether two records say nearly the same: their 5-grams, words, answers and facts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.curate.steps.duplicates.sets import Mask, Numbers, Sets, common_sizes, jaccard
from tasks.curate.steps.duplicates.signatures import SHINGLE
from tasks.curate.text.ngrams import Positions, covered

OWN_CONTAINED, OWN_SIMILARITY = 0.8, 0.5
"""Of records that fill a template: share of the fewer words beside it that both have to have, and
what the similarity of all of them has to exceed."""
ANSWER_SIMILARITY, SHORT_ANSWER, SHORT_SIMILARITY = 0.5, 10, 0.7
"""Similarity of the words of the last answers; of those with fewer words than ten the second, so
that of five words none may differ."""

PAIRS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Comparison:
    """What records are compared by, of all of them or of some, given by their numbers.

    Attributes:
        number: of all records.
        band: one band's hashes of all records, of shingles without what templates share.
        shingles: in the order of the text.
        words: likewise, their words.
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
        """The words of each record beside its template, and those of the template."""
        words, shingled = self.words(numbers), self.shingles(numbers)
        of_template = np.flatnonzero(shingled.is_member(self.frames))
        # A shingle has the position of its first word.
        owner = np.searchsorted(shingled.starts, of_template, side="right") - 1
        first = of_template - shingled.starts[owner] + words.starts[owner]
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
        for begin in range(0, len(left), PAIRS_AT_ONCE):
            batch = left[begin : begin + PAIRS_AT_ONCE]
            numbers, local = local_pairs(pairs[:, batch])
            similarity = jaccard(self.shingles(numbers).distinct(), local)
            found[batch] = np.where(similarity >= self.similarity, similarity, 0)
            found[batch[~self._answers_alike(numbers, local)]] = 0
        left = np.flatnonzero(found)
        found[left[self.contradict(pairs[:, left], filled[left])]] = 0
        return found

    def _own_alike(self, pairs: Positions, which: Positions) -> tuple[Mask, Positions]:
        """Which of the pairs `which` fill a template, and those that are alike without it."""
        kept, of_template = [which[:0]], np.zeros(len(which), dtype=bool)
        for begin in range(0, len(which), PAIRS_AT_ONCE):
            batch = which[begin : begin + PAIRS_AT_ONCE]
            numbers, local = local_pairs(pairs[:, batch])
            own, given = (found.distinct() for found in self.own_words(numbers))
            either = (given.sizes()[local] > 0).any(axis=0)
            of_template[begin : begin + PAIRS_AT_ONCE] = either
            first, second = (own.take(side) for side in local)
            # The other's words of the template are beside changed words of it, too.
            rest = first.minus(given.take(local[1])), second.minus(given.take(local[0]))
            both_left = (rest[0].sizes() > 0) & (rest[1].sizes() > 0)
            sizes = np.stack([first.sizes(), second.sizes()])
            sizes = np.where(both_left, [rest[0].sizes(), rest[1].sizes()], sizes)
            both = np.where(both_left, common_sizes(*rest), common_sizes(first, second))
            near = both >= OWN_CONTAINED * sizes.min(axis=0)
            near &= both > OWN_SIMILARITY * (sizes.sum(axis=0) - both)
            near &= (sizes > 0).all(axis=0) | (sizes == 0).all(axis=0)
            kept.append(batch[near | ~either])
        return of_template, np.concatenate(kept)

    def _answers_alike(self, numbers: Positions, local: Positions) -> Mask:
        answers = self.answers(numbers)
        sizes = answers.sizes()[local]
        short = sizes.max(axis=0, initial=0) < SHORT_ANSWER
        enough = np.where(short, SHORT_SIMILARITY, ANSWER_SIMILARITY)
        silent = ~(sizes > 0).any(axis=0)
        alike: Mask = silent | (jaccard(answers, local) >= enough)
        return alike


def local_pairs(pairs: Positions) -> tuple[Positions, Positions]:
    """The distinct numbers in `pairs`, ascending, and the pairs as positions among them."""
    numbers, local = np.unique(pairs, return_inverse=True)
    return numbers, local.reshape(pairs.shape)
