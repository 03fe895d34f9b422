"""The gate `no_regression`."""

from collections.abc import Sequence

from tasks.evaluate.gates import GATES, Gate, Measured
from tasks.evaluate.gates.contract import limited
from tasks.evaluate.results import GateResult


@GATES.register
class NoRegression(Gate):
    """Failed where the whole interval of a paired difference is above the limit."""

    name = "no_regression"
    sentence = (
        "On no benchmark is the loss more than `evaluate.max_regression` above the champion's."
    )
    needs = frozenset({"champion"})
    metric = "loss"

    def decide(self, measured: Measured) -> Sequence[GateResult]:
        """One result for each benchmark."""
        return [
            limited(
                f"{self.name}:{benchmark}",
                measured.difference(self.metric, "champion", [benchmark]),
                measured.settings.evaluate.max_regression,
                benchmark,
            )
            for benchmark in measured.benchmarks
        ]
