"""Exact match."""

from tasks.evaluate.metrics import METRICS, Item, Metric
from tasks.evaluate.words import normalised


@METRICS.register
class ExactMatch(Metric):
    """Share of answers equal to their reference, ignoring case, width of spaces and a full stop.

    Both are brought to Unicode's NFKC form first.
    """

    name = "exact_match"
    label = "exact match"
    unit = ""
    better = "higher"
    needs = "answers"
    bounds = (0.0, 1.0)

    def score(self, item: Item) -> float:
        """1 where both are equal, else 0."""
        return float(normalised(item.answer) == normalised(item.reference))
