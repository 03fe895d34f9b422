"""The gate `better`."""

from collections.abc import Sequence

from pydantic import Field

from tasks.evaluate.gates import GATES, Gate, Measured
from tasks.evaluate.gates.comparing import compared
from tasks.evaluate.results import GateResult
from tasks.evaluate.settings import Margins
from tasks.settings.section import Section


class BetterSettings(Section):
    """What the candidate has to gain."""

    better: Margins | None = Field({"loss": 0.0})
    """By metric, the gain over the champion (or the base, where there is none) that must be
    exceeded, over all benchmarks; null: no such gate."""


@GATES.register
class Better(Gate):
    """Superiority: passed where all of the interval of the paired difference is a gain.

    A paired t-test by clusters (`tasks.evaluate.statistics`), one-sided at the level of the round.
    """

    name = "better"
    sentence = "Over all benchmarks the candidate is better than the reference."
    settings = BetterSettings
    metrics = frozenset({"better"})

    def decide(self, measured: Measured) -> Sequence[GateResult]:
        """One result a metric, over all benchmarks."""
        gains = measured.settings.evaluate.gates.of(BetterSettings).better or {}
        limits = {metric: -gain if gain else 0.0 for metric, gain in gains.items()}
        return compared(
            self.name, measured, measured.reference, limits, measured.benchmarks, "held-out data"
        )
