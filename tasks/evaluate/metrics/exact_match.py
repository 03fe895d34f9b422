"""Exact match."""

import unicodedata

from tasks.evaluate.metrics import METRICS, Item, Metric


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

    def score(self, item: Item) -> float:
        """1 where both are equal, else 0."""
        return float(_normalise(item.answer) == _normalise(item.reference))


def _normalise(text: str) -> str:
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.removesuffix(".").rstrip()
