"""Loss."""

from tasks.evaluate.metrics import METRICS, Item, Metric


@METRICS.register
class Loss(Metric):
    """Mean negative log-likelihood of the reference answers, over all target tokens."""

    name = "loss"
    label = "loss"
    unit = "nats a token"
    better = "lower"
    needs = "losses"
    aspect = "likelihood"

    def score(self, item: Item) -> float:
        """The mean over the item's target tokens."""
        return item.nll / item.tokens

    def totals(self, item: Item, score: float) -> tuple[float, ...]:  # noqa: ARG002
        """Longer answers weigh more: every token counts the same."""
        return item.nll, float(item.tokens)
