"""Results of gates that compare one figure with a limit."""

from tasks.evaluate.results import GateResult, Outcome


def unknown(name: str, reason: str) -> GateResult:
    """What the gate looks at is not known, so it is undecided."""
    return GateResult(name=name, outcome=Outcome.UNDECIDED, reason=reason)


def at_least(name: str, value: float, limit: float, reason: str) -> GateResult:
    """Passed where `value` reaches `limit`."""
    return _decided(name, value, limit, reason, passed=value >= limit)


def at_most(name: str, value: float, limit: float, reason: str) -> GateResult:
    """Passed where `value` does not exceed `limit`."""
    return _decided(name, value, limit, reason, passed=value <= limit)


def _decided(name: str, value: float, limit: float, reason: str, *, passed: bool) -> GateResult:
    return GateResult(
        name=name,
        outcome=Outcome.PASSED if passed else Outcome.FAILED,
        value=float(value),
        threshold=float(limit),
        reason=reason,
    )
