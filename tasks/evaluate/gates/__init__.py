"""What a candidate must reach before a person is asked: a file for each gate.

A gate sees the items of base, champion and candidate (`Measured`) and returns results, each passed,
failed or undecided, with a sentence. A candidate passes where every result is passed.

    from tasks.evaluate import GATES, Gate, GateResult, Measured, Outcome

    @GATES.register
    class EnoughAnswers(Gate):
        \"\"\"Passed from four answers on.\"\"\"

        name = "enough_answers"
        sentence = "At least four examples were answered."

        def decide(self, measured: Measured) -> list[GateResult]:
            items = [item for part in measured.items["candidate"].values() for item in part]
            count = sum(item.answered for item in items)
            outcome = Outcome.PASSED if count >= 4 else Outcome.FAILED
            reason = f"{count} examples were answered."
            return [GateResult(name=self.name, outcome=outcome, reason=reason)]

In a file of your own it takes a line in params.yaml: `project.plugins: [enough_answers.py]`.
"""

import logging

from tasks.core.plugins import PluginRegistry
from tasks.evaluate.gates.contract import Gate, Measured
from tasks.evaluate.results import GateResult

__all__ = ["GATES", "Gate", "Measured", "decide"]

GATES: PluginRegistry[Gate] = PluginRegistry("gate", "tasks.evaluate.gates")

log = logging.getLogger(__name__)


def decide(measured: Measured) -> tuple[GateResult, ...]:
    """The results of every gate that applies, in the order of `GATES`."""
    results = tuple(
        result
        for gate in GATES
        if measured.available.issuperset(gate.needs)
        for result in gate.decide(measured)
    )
    for result in results:
        log.info("%s: %s: %s", result.name, result.outcome, result.reason)
    return results
