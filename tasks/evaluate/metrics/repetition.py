"""Repetition."""

from tasks.evaluate.metrics import METRICS, Item, Metric
from tasks.evaluate.words import words

_WORDS = 4


@METRICS.register
class Repetition(Metric):
    """Share of an answer's four-word runs that occurred in it before, the mean over answers.

    Welleck et al. 2020, "Neural Text Generation With Unlikelihood Training", §6 (seq-rep-4). An
    answer of fewer than four words repeats nothing.
    """

    name = "repetition"
    label = "repetition"
    unit = ""
    better = "lower"
    needs = "answers"
    aspect = "form"

    def score(self, item: Item) -> float:
        """1 − different runs / all runs."""
        found = words(item.answer)
        runs = [tuple(found[i : i + _WORDS]) for i in range(len(found) - _WORDS + 1)]
        return 1 - len(set(runs)) / len(runs) if runs else 0.0
