"""Perplexity."""

import math

from tasks.evaluate.metrics import METRICS, Item, Metric

_LARGEST_EXPONENT = 700.0
_DIGITS = 6


@METRICS.register
class Perplexity(Metric):
    """The exponential of the loss (Jelinek et al. 1977)."""

    name = "perplexity"
    label = "perplexity"
    unit = ""
    better = "lower"
    needs = "losses"
    aspect = "likelihood"
    derived_from = "loss"

    def score(self, item: Item) -> None:  # noqa: ARG002
        """None: it is a figure of a whole benchmark."""
        return

    def transform(self, value: float) -> float | None:
        """None where JSON has no number for it."""
        return None if value > _LARGEST_EXPONENT else round(math.exp(value), _DIGITS)
