"""The gate `general`."""

from collections.abc import Sequence

from tasks.evaluate.benchmarks import GENERAL
from tasks.evaluate.gates import GATES, Gate, Measured
from tasks.evaluate.gates.contract import limited
from tasks.evaluate.results import GateResult


@GATES.register
class General(Gate):
    """Failed where the whole interval of the paired difference is above the limit.

    The candidate is compared with the base: compared with the champion, small losses would add up
    over rounds.
    """

    name = "general"
    sentence = (
        "On the general probe the loss is at most `evaluate.max_general_loss_increase` above the "
        "base model's."
    )
    needs = frozenset({"general_probe"})
    metric = "loss"

    def decide(self, measured: Measured) -> Sequence[GateResult]:
        """One result."""
        found = measured.difference(self.metric, "base", [GENERAL])
        limit = measured.settings.evaluate.max_general_loss_increase
        return [limited(self.name, found, limit, "the general probe")]
