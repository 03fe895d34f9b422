"""What a candidate must reach before a person is asked: a file for each gate.

A gate sees the items of base, champion and candidate (`Measured`) and returns results, each passed,
failed or undecided, with a sentence. A candidate passes where every result is passed.

CONTRIBUTING.md has an example.
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
