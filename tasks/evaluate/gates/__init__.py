"""What a candidate must reach before a person is asked: a file for each gate.

A gate sees the items of base, champion and candidate and what the round knows beside them
(`Measured`), and returns results, each passed, failed or undecided, with a sentence. A candidate
passes where every result is passed. Its settings are keys of `evaluate.gates`.

That all must pass needs no correction for their number: a candidate that should not pass one of
them passes that one with the probability of its own test at most, and all of them less often
(intersection-union test; Berger 1982).

CONTRIBUTING.md has an example.
"""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasks.core.errors import BadInput
from tasks.core.plugins import PluginRegistry
from tasks.evaluate.gates.contract import Difference, Gate, Measured
from tasks.evaluate.metrics import METRICS
from tasks.evaluate.results import GateResult, Outcome

if TYPE_CHECKING:
    from tasks.settings import Settings

__all__ = ["GATES", "Difference", "Gate", "Measured", "check", "decide"]

GATES: PluginRegistry[Gate] = PluginRegistry("gate", "tasks.evaluate.gates")

log = logging.getLogger(__name__)


def decide(measured: Measured) -> tuple[GateResult, ...]:
    """The results of every gate that applies, in the order of their names.

    A gate that fails itself is undecided, with the error in words.
    """
    results = tuple(result for gate in _active(measured) for result in _results(gate, measured))
    for result in results:
        log.info("%s: %s: %s", result.name, result.outcome, result.reason)
    return results


def check(settings: "Settings") -> None:
    """Check that the metrics in `evaluate.gates` can be compared, before any training.

    Raises:
        BadInput: there is no such metric, or more of it is neither better nor worse, or it is
            another metric's figure in another form.
    """
    for gate in GATES:
        for key in sorted(gate.metrics):
            for name in getattr(settings.evaluate.gates, key) or {}:
                metric = METRICS.get(name)
                place = f"evaluate.gates.{key}.{name}"
                if metric.derived_from is not None:
                    raise BadInput(f"{place}: computed from {metric.derived_from}: name that")
                if metric.direction == 0:
                    raise BadInput(f"{place}: neither more nor less of it is better")


def _active(measured: Measured) -> Iterator[Gate]:
    for gate in sorted(GATES, key=lambda gate: gate.name):
        on = getattr(measured.settings.evaluate.gates, gate.name, True) is not None
        if on and measured.available.issuperset(getattr(gate, "needs", frozenset())):
            yield gate


def _results(gate: Gate, measured: Measured) -> list[GateResult]:
    try:
        return [*gate.decide(measured)]
    except Exception as error:
        log.debug("%s", gate.name, exc_info=True)
        said = f"{type(error).__name__}: {error}".removesuffix(".")
        reason = f"The gate failed itself, so nothing is known: {said}."
        return [GateResult(name=gate.name, outcome=Outcome.UNDECIDED, reason=reason)]
