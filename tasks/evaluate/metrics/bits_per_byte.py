"""Bits per byte."""

import math

from tasks.evaluate.metrics import METRICS, Item, Metric


@METRICS.register
class BitsPerByte(Metric):
    """The loss of the reference answers in bits for each UTF-8 byte of their text.

    Unlike the loss per token it can be compared between models whose tokenizers differ (Gao et al.
    2020, "The Pile", §3.1). The loss of the end token counts, its bytes do not.
    """

    name = "bits_per_byte"
    label = "bits per byte"
    unit = "bits a byte"
    better = "lower"
    needs = "losses"
    aspect = "likelihood"

    def score(self, item: Item) -> float | None:
        """None without text, such as an answer of an end token only."""
        return item.nll / math.log(2) / item.target_bytes if item.target_bytes else None

    def totals(self, item: Item, score: float) -> tuple[float, ...]:  # noqa: ARG002
        """Longer answers weigh more: every byte counts the same."""
        return item.nll / math.log(2), float(item.target_bytes)
