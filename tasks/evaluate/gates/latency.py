"""The gate `latency`."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from tasks.evaluate.aggregation import figure
from tasks.evaluate.gates import GATES, Gate, Measured
from tasks.evaluate.gates.limits import at_most, unknown
from tasks.evaluate.metrics import METRICS
from tasks.evaluate.results import GateResult
from tasks.settings.section import Section, Unit


class LatencySettings(Section):
    """How long an answer may take."""

    latency: Annotated[float, Field(gt=0), Unit("seconds")] | None = None
    """Longest mean time until an answer is there, by the metric `latency`, on the machine that
    evaluates; null: no such gate."""


@GATES.register
class Latency(Gate):
    """Answers are there soon enough.

    The figure is compared with the limit as it is: times of one run on one machine have no interval
    that would hold for another.
    """

    name = "latency"
    sentence = "The mean time until an answer is there is not longer than is allowed."
    settings = LatencySettings

    def decide(self, measured: Measured) -> Sequence[GateResult]:
        """One result over all benchmarks; undecided where no answer was timed."""
        most = measured.settings.evaluate.gates.of(LatencySettings).latency
        if most is None:
            return []
        items = [item for name in measured.benchmarks for item in measured.items["candidate"][name]]
        found = figure(items, METRICS.get("latency"), measured.settings)
        if found is None:
            return [unknown(self.name, "Too few answers were timed.")]
        reason = (
            f"An answer takes {found.value:.2f} seconds on average ({found.n:,} answers); at most "
            f"{most:g} are allowed."
        )
        return [at_most(self.name, found.value, most, reason)]
