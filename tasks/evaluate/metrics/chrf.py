"""chrF."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.evaluate.metrics import METRICS, Item, Metric

_BETA = 2.0


@METRICS.register
class Chrf(Metric):
    """F2 of the character n-grams, of one to six characters, that answers and references share.

    From 0 to 100, over the whole benchmark (Popović 2015, "chrF: character n-gram F-score for
    automatic MT evaluation"), computed from sacrebleu's counts as sacrebleu computes the score of
    a corpus. It needs no words: it suits code, short answers and any script.
    """

    name = "chrf"
    label = "chrF"
    unit = "of 100"
    better = "higher"
    needs = "answers"
    bounds = (0.0, 100.0)

    def score(self, item: Item) -> float:
        """Sentence chrF."""
        return float(self.figure(np.array(_counts(item), dtype=np.float64)))

    def totals(self, item: Item, score: float) -> tuple[float, ...]:  # noqa: ARG002
        """For each order the n-grams of the answer, of the reference, and of both."""
        return _counts(item)

    def figure(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """As `sacrebleu.CHRF._compute_f_score`, for many sums at once."""
        answer, reference, shared = (totals[..., first::3] for first in range(3))
        counted = (answer > 0) & (reference > 0)
        orders = np.maximum(1, counted.sum(axis=-1))
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where(counted, shared / answer, 0.0).sum(axis=-1) / orders
            recall = np.where(counted, shared / reference, 0.0).sum(axis=-1) / orders
            weighted = _BETA**2 * precision + recall
            f_score = (1 + _BETA**2) * precision * recall / weighted
        score: NDArray[np.float64] = np.where(weighted > 0, 100 * f_score, 0.0)
        return score


@cache
def _metric() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def _counts(item: Item) -> tuple[float, ...]:
    # The counts of a sentence are not in its public score; a test compares the sums with the
    # public score of a corpus.
    (found,) = _metric()._extract_corpus_statistics([item.answer], [[item.reference]])
    return tuple(map(float, found))
