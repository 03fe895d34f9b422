"""The gate `better`."""

from collections.abc import Sequence

from tasks.evaluate import statistics
from tasks.evaluate.gates import GATES, Gate, Measured
from tasks.evaluate.gates.contract import result
from tasks.evaluate.results import GateResult, Outcome


@GATES.register
class Better(Gate):
    """Passed where the whole interval of the paired difference is below 0."""

    name = "better"
    sentence = "The loss over all benchmarks is lower than the reference's."
    metric = "loss"

    def decide(self, measured: Measured) -> Sequence[GateResult]:
        """One result over all benchmarks; undecided with too few examples."""
        found = measured.difference(self.metric, measured.reference, measured.benchmarks)
        count = found.score.n
        outcome = Outcome.PASSED if found.score.high < 0 else Outcome.FAILED
        reason = f"On {count} held-out examples {found.sentence()}"
        if count < statistics.FEWEST_CLUSTERS:
            outcome = Outcome.UNDECIDED
            reason = (
                f"{count} held-out examples are too few to tell the candidate from {found.name}: "
                f"at least {statistics.FEWEST_CLUSTERS} are needed"
            )
        elif outcome is Outcome.FAILED and found.score.low <= 0:
            reason = f"On {count} held-out examples {found.undecided_sentence()}"
        return [result(self.name, outcome, found.score, 0.0, f"{reason}.")]
