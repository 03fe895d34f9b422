"""The gate `validity`."""

from collections.abc import Sequence

from tasks.evaluate import statistics
from tasks.evaluate.aggregation import estimated
from tasks.evaluate.gates import GATES, Gate, Measured
from tasks.evaluate.gates.limits import unknown
from tasks.evaluate.metrics import METRICS, Metric
from tasks.evaluate.results import GateResult, Outcome
from tasks.evaluate.settings import Margins
from tasks.settings.section import Section

_DIGITS = 6


class ValiditySettings(Section):
    """What share of answers must have the form that is asked for."""

    validity: Margins | None = None
    """By metric of a share (`valid_json`, `valid_python`), the least share of answers, on each
    benchmark that the metric applies to; null: no such gate."""


@GATES.register
class Validity(Gate):
    """The share of valid answers is at least the one demanded.

    Passed where the lower end of the share's interval reaches it, failed where the upper end does
    not, else undecided. The interval is Clopper and Pearson's, with as many answers as the groups
    are worth (Korn & Graubard 1998): of 48 answers that are all valid it begins at 93 %.
    """

    name = "validity"
    sentence = "The share of valid answers is large enough on each benchmark that asks for them."
    settings = ValiditySettings
    metrics = frozenset({"validity"})

    def decide(self, measured: Measured) -> Sequence[GateResult]:
        """One result for each metric and benchmark; undecided where a metric applies nowhere."""
        shares = measured.settings.evaluate.gates.of(ValiditySettings).validity or {}
        results = []
        for name, least in shares.items():
            found = [
                self._decided(measured, metric, benchmark, least)
                for benchmark in measured.benchmarks
                if (metric := measured.metric(name, [benchmark])) is not None
            ]
            label = METRICS.get(name).label
            results += found or [unknown(self.name, f"No benchmark asks for {label}.")]
        return results

    def _decided(
        self, measured: Measured, metric: Metric, benchmark: str, least: float
    ) -> GateResult:
        name = f"{self.name}:{benchmark}:{metric.name}"
        found = estimated(measured.items["candidate"][benchmark], metric)
        if found is None or not found.known:
            return unknown(name, f"On {benchmark} too few answers have {metric.label}.")
        interval = found.interval(1 - 2 * measured.level, metric.bounds or (0.0, 1.0))
        outcome = Outcome.UNDECIDED
        if found.clusters >= statistics.FEWEST_CLUSTERS:
            if interval.low >= least:
                outcome = Outcome.PASSED
            elif interval.high < least:
                outcome = Outcome.FAILED
        goes = {
            Outcome.PASSED: "all of the interval reaches",
            Outcome.FAILED: "none of the interval reaches",
            Outcome.UNDECIDED: "not all of the interval reaches",
        }[outcome]
        reason = (
            f"On {benchmark} ({found.examples:,} answers) {metric.label} is "
            f"{100 * found.value:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f}); "
            f"{goes} the {100 * least:g} % demanded."
        )
        return GateResult(
            name=name,
            outcome=outcome,
            value=round(found.value, _DIGITS),
            interval=(round(interval.low, _DIGITS), round(interval.high, _DIGITS)),
            threshold=least,
            reason=reason,
        )
