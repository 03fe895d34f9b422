"""Latency and tokens a second."""

import math

from tasks.evaluate.metrics import METRICS, Item, Metric

_CAVEAT = (
    "Times are those of the machine that generated the answers, cached with them: {0} of systems "
    "measured on different machines, or beside other programs, cannot be compared, and no test of "
    "significance applies."
)


class _Timed(Metric):
    needs = "answers"
    aspect = "speed"

    def cluster(self, item: Item) -> str | None:
        """Answers of one batch are there at the same moment."""
        return f"batch of {item.seconds}"


@METRICS.register
class Latency(_Timed):
    """Seconds until an answer is there, the mean over answers, as evaluation answers: a batch of
    `evaluate.batch_size` prompts at once.

    The longest answer of a batch decides. One prompt alone is answered faster, a server under load
    slower.
    """

    name = "latency"
    label = "latency"
    unit = "seconds"
    better = "lower"
    caveat = _CAVEAT.format("the latency")

    def score(self, item: Item) -> float | None:
        """None where it was not timed."""
        return item.seconds


@METRICS.register
class TokensPerSecond(_Timed):
    """Generated tokens a second, over all answers: a batch of `evaluate.batch_size` prompts at
    once, reading the prompts included."""

    name = "tokens_per_second"
    label = "tokens per second"
    unit = "tokens a second"
    better = "higher"
    caveat = _CAVEAT.format("tokens per second")

    def score(self, item: Item) -> float | None:
        """None where it was not timed."""
        if not item.seconds or not item.at_once:
            return None
        speed = item.new_tokens * item.at_once / item.seconds
        return speed if math.isfinite(speed) else None

    def totals(self, item: Item, score: float) -> tuple[float, ...]:  # noqa: ARG002
        """The item's tokens, and its share of the batch's seconds."""
        assert item.seconds and item.at_once
        return float(item.new_tokens), item.seconds / item.at_once
