"""Accuracy and macro-F1, where answers are labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.evaluate.metrics import METRICS, Item, Metric
from tasks.evaluate.words import normalised

_MOST_LABELS = 20
_EXAMPLES_A_LABEL = 3  # on average: texts that recur so often are labels


def labels_of(items: Sequence[Item]) -> tuple[str, ...]:
    """The labels that a benchmark's references are; empty where they are no labels.

    References are labels where there are at most twenty different ones, at least two, and three
    examples of each on average. Case, width of spaces and a full stop at the end do not matter.
    """
    references = [normalised(item.reference) for item in items if item.answered]
    found = sorted(set(references))
    if 2 <= len(found) <= _MOST_LABELS and len(references) >= _EXAMPLES_A_LABEL * len(found):
        return tuple(found)
    return ()


@METRICS.register
class Accuracy(Metric):
    """Share of answers that are the reference's label, ignoring case, spaces and a full stop.

    Only where the references of a benchmark are labels: two to twenty different ones, each three
    times on average.
    """

    name = "accuracy"
    label = "accuracy"
    unit = ""
    better = "higher"
    needs = "answers"
    bounds = (0.0, 1.0)

    def on(self, items: Sequence[Item]) -> Metric | None:
        """None where the references are no labels."""
        return self if labels_of(items) else None

    def score(self, item: Item) -> float:
        """1 where the label is right, else 0."""
        return float(normalised(item.answer) == normalised(item.reference))


@METRICS.register
class MacroF1(Metric):
    """Mean over labels of the F1 of each: rare labels count as much as frequent ones.

    As scikit-learn's `f1_score(average="macro", zero_division=0)` over the labels of the
    references; an answer that is none of them is wrong. Only where accuracy applies.
    """

    name = "macro_f1"
    label = "macro-F1"
    unit = ""
    better = "higher"
    needs = "answers"
    bounds = (0.0, 1.0)

    def __init__(self, labels: tuple[str, ...] = ()) -> None:
        self._labels = labels

    def on(self, items: Sequence[Item]) -> Metric | None:
        """The metric for these labels; None where the references are no labels."""
        labels = labels_of(items)
        return MacroF1(labels) if labels else None

    def score(self, item: Item) -> float:
        """1 where the label is right, else 0."""
        return float(normalised(item.answer) == normalised(item.reference))

    def totals(self, item: Item, score: float) -> tuple[float, ...]:  # noqa: ARG002
        """For each label whether it was right, was answered, and was the reference."""
        answer, reference = normalised(item.answer), normalised(item.reference)
        found = np.zeros((max(1, len(self._labels)), 3))
        for i, label in enumerate(self._labels):
            said, true = label == answer, label == reference
            found[i] = said and true, said, true
        return tuple(found.ravel().tolist())

    def figure(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean F1 of the labels that occur in answers or references."""
        right, said, true = (totals[..., first::3] for first in range(3))
        occurs = said + true > 0
        f_scores = np.where(occurs, 2 * right / np.where(occurs, said + true, 1.0), 0.0)
        mean: NDArray[np.float64] = f_scores.mean(axis=-1)
        return mean
