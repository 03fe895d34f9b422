"""Length ratio."""

from tasks.evaluate.metrics import METRICS, Item, Metric


@METRICS.register
class LengthRatio(Metric):
    """Characters of the answers for each character of their references.

    1: as long as the references; answers cut at `evaluate.max_new_tokens` count as they are.
    """

    name = "length_ratio"
    label = "length ratio"
    unit = "characters a character"
    better = "near 1"
    needs = "answers"
    aspect = "form"

    def score(self, item: Item) -> float | None:
        """None where the reference is empty."""
        return len(item.answer) / len(item.reference) if item.reference else None

    def totals(self, item: Item, score: float) -> tuple[float, ...]:  # noqa: ARG002
        """Longer answers weigh more: every character counts the same."""
        return float(len(item.answer)), float(len(item.reference))
