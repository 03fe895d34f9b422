"""The gate `reviewed`."""

from collections.abc import Sequence

from tasks.evaluate.gates import GATES, Gate, Measured
from tasks.evaluate.results import GateResult, Outcome


@GATES.register
class Reviewed(Gate):
    """A person has marked answers on the review sheet, where `decisions.review` is `required`.

    There is no review yet when the verdict is made. So the gate says that one is needed, does not
    count in the verdict, and the policy asks for the review when the candidate is approved.
    """

    name = "reviewed"
    sentence = "A person has reviewed the answers, where `decisions.review` demands it."

    def decide(self, measured: Measured) -> Sequence[GateResult]:
        """One result, which is decided at approval; none where no review is demanded."""
        decisions = getattr(measured.settings, "decisions", None)
        if getattr(decisions, "review", "optional") != "required":
            return []
        reason = "A review is required before approval: `perpetune review VERSION --marks FILE`."
        return [
            GateResult(name=self.name, outcome=Outcome.UNDECIDED, reason=reason, at_approval=True)
        ]
