"""A verdict as every page shows it: outcomes in words, by a sign, and by a colour's name."""

from dataclasses import dataclass
from typing import Any, Literal

from tasks.evaluate import diagnosis
from tasks.evaluate.results import GateResult, Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Ending:
    """An outcome as pages show it."""

    words: str
    """Of a whole verdict."""
    sign: str
    kind: Literal["passed", "failed", "undecided"]
    """Class of styles."""


_ENDINGS = {
    Outcome.PASSED: Ending("passed all gates", "✓", "passed"),
    Outcome.FAILED: Ending("refused", "✗", "failed"),
    Outcome.UNDECIDED: Ending("not decided", "?", "undecided"),
}


@dataclass(frozen=True, slots=True)
class ShownGate:
    """A gate's result as pages show it."""

    name: str
    outcome: str
    sign: str
    kind: str
    reason: str
    threshold: float | None
    strip: dict[str, float] | None
    """Places in percent of the interval, of the threshold and of no difference."""


def shown_verdict(verdict: Verdict) -> dict[str, Any]:
    """What templates refer to: `ending`, `gates`, `notes`, `findings` and `silent`."""
    return {
        "ending": _ENDINGS[verdict.outcome],
        "gates": [_gate(gate) for gate in verdict.gates],
        "notes": verdict.notes,
        "findings": [
            {
                "title": diagnosis.title(finding),
                "sentence": finding.sentence,
                "remedy": finding.remedy,
            }
            for finding in verdict.diagnosis
        ],
        "silent": diagnosis.silent(verdict.diagnosis),
    }


def _gate(gate: GateResult) -> ShownGate:
    ending = _ENDINGS[gate.outcome]
    return ShownGate(
        name=gate.name,
        outcome="asked at approval" if gate.at_approval else gate.outcome.value,
        sign=ending.sign,
        kind=ending.kind,
        reason=gate.reason,
        threshold=gate.threshold,
        strip=_strip(gate),
    )


def _strip(gate: GateResult) -> dict[str, float] | None:
    if gate.value is None or gate.interval is None:
        return None
    points = {"low": gate.interval[0], "value": gate.value, "high": gate.interval[1]}
    points |= {"threshold": gate.threshold or 0.0, "zero": 0.0}
    left, right = min(points.values()), max(points.values())
    width = right - left or 1.0
    return {name: round(5 + 90 * (point - left) / width, 1) for name, point in points.items()}
