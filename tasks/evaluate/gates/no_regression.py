"""The gate `no_regression`."""

from collections.abc import Sequence

from pydantic import Field

from tasks.evaluate.gates import GATES, Gate, Measured
from tasks.evaluate.gates.comparing import compared
from tasks.evaluate.results import GateResult
from tasks.evaluate.settings import Margins
from tasks.settings.section import Section


class NoRegressionSettings(Section):
    """What may be lost on a single benchmark."""

    no_regression: Margins | None = Field({"loss": 0.05})
    """By metric, how much worse than the champion, and than the first champion, the candidate may
    be on any one benchmark; null: no such gate."""


@GATES.register
class NoRegression(Gate):
    """Non-inferiority on each benchmark: passed where the worse end of the interval is within the
    margin (Schuirmann 1987; Piaggio et al. 2012).

    The first champion is a reference as well: against the present one alone, each round could lose
    up to the margin, and the losses would add up.
    """

    name = "no_regression"
    sentence = (
        "On no benchmark is the candidate worse than the champion, or than the first champion, by "
        "the margin."
    )
    needs = frozenset({"champion"})
    settings = NoRegressionSettings
    metrics = frozenset({"no_regression"})

    def decide(self, measured: Measured) -> Sequence[GateResult]:
        """One result for each metric, benchmark and reference; a benchmark whose examples have
        nothing to do with a metric has none."""
        limits = measured.settings.evaluate.gates.of(NoRegressionSettings).no_regression or {}
        results: list[GateResult] = []
        for benchmark in measured.benchmarks:
            applies = {
                metric: limit
                for metric, limit in limits.items()
                if measured.metric(metric, [benchmark]) is not None
            }
            for other in ("champion", "first"):
                if other not in measured.items:
                    continue
                name = f"{self.name}:{benchmark}" + (":first" if other == "first" else "")
                results += compared(name, measured, other, applies, [benchmark], benchmark)
        return results
