"""BLEU."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.evaluate.metrics import METRICS, Item, Metric

_ORDERS = 4


@METRICS.register
class Bleu(Metric):
    """Precision of n-grams of one to four words over the whole benchmark, from 0 to 100.

    Papineni et al. 2002, with the words and the smoothing of sacrebleu's default (13a, exp; Post
    2018, "A Call for Clarity in Reporting BLEU Scores"). Computed from the counts of all answers
    together, as sacrebleu computes the score of a corpus; the score of one answer leaves out the
    orders that it is too short for.
    """

    name = "bleu"
    label = "BLEU"
    unit = "of 100"
    better = "higher"
    needs = "answers"
    bounds = (0.0, 100.0)
    caveat = "BLEU is meant for corpora: on short answers, or few of them, it says little."

    def score(self, item: Item) -> float:
        """Sentence BLEU."""
        return float(_counted(item).score)

    def totals(self, item: Item, score: float) -> tuple[float, ...]:  # noqa: ARG002
        """Matches and n-grams of each order, and both lengths."""
        found = _counted(item)
        # Sentence BLEU at no match gives its counts unchanged.
        return (*found.counts, *found.totals, found.sys_len, found.ref_len)

    def figure(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """As `sacrebleu.BLEU.compute_bleu`, for many sums at once."""
        matches, ngrams = totals[..., :_ORDERS], totals[..., _ORDERS : 2 * _ORDERS]
        answer, reference = totals[..., -2], totals[..., -1]
        with np.errstate(divide="ignore", invalid="ignore"):
            # Each order without a match counts half of what the one before would (exp).
            halvings = np.cumsum(matches == 0, axis=-1)
            precisions = np.where(matches > 0, matches, 0.5**halvings) / ngrams
            mean = np.exp(np.log(precisions).mean(axis=-1))
            brevity = np.exp(np.minimum(0.0, 1 - reference / answer))
            found = 100 * brevity * mean
        some = (matches.sum(axis=-1) > 0) & (ngrams > 0).all(axis=-1)
        score: NDArray[np.float64] = np.where(some, found, 0.0)
        return score


@cache
def _metric() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(effective_order=True, force=True)


def _counted(item: Item) -> Any:
    return _metric().sentence_score(item.answer, [item.reference])
