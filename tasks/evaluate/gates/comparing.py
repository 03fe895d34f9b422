"""Two systems compared by a test: passed, failed, or not decided."""

from collections.abc import Mapping, Sequence

from tasks.evaluate import statistics
from tasks.evaluate.gates.contract import Difference, Measured
from tasks.evaluate.metrics import METRICS
from tasks.evaluate.results import GateResult, Outcome

_DIGITS = 6


def compared(
    gate: str,
    measured: Measured,
    other: str,
    limits: Mapping[str, float],
    benchmarks: Sequence[str],
    subject: str,
) -> list[GateResult]:
    """A result for each metric: by how much the candidate may be worse than another system.

    Passed where the worse end of the interval is within the limit, failed where the better end is
    outside, else undecided: that nothing was found to be lost does not show that nothing was
    (non-inferiority; Schuirmann 1987, Piaggio et al. 2012). A negative limit is a gain to reach.

    Args:
        gate: name of the results; with several metrics each has its metric's name added.
        measured: the items.
        other: system that the candidate is compared with.
        limits: by metric, how much worse than `other` is allowed.
        benchmarks: over whose items, together.
        subject: these in words.
    """
    results = []
    for metric, limit in limits.items():
        name = gate if len(limits) == 1 else f"{gate}:{metric}"
        found = measured.difference(metric, other, benchmarks)
        if found is None:
            results.append(
                GateResult(
                    name=name,
                    outcome=Outcome.UNDECIDED,
                    threshold=limit,
                    reason=f"On {subject} no example has a figure of {METRICS.get(metric).label}.",
                )
            )
        else:
            results.append(_decided(name, found, limit, subject))
    return results


def _decided(name: str, found: Difference, limit: float, subject: str) -> GateResult:
    sign = -found.metric.direction
    estimate, interval = found.estimate, found.interval
    threshold = sign * limit or 0.0  # never -0.0
    worst = best = 0.0
    if interval is not None:
        worst, best = (interval.high, interval.low) if sign > 0 else (-interval.low, -interval.high)
    gain = limit <= 0
    if interval is None or not estimate.enough:
        outcome = Outcome.UNDECIDED
    elif worst < limit or (worst == limit and not gain):
        outcome = Outcome.PASSED
    elif best > limit or (best == limit and gain):
        outcome = Outcome.FAILED
    else:
        outcome = Outcome.UNDECIDED
    needed = None
    if outcome is not Outcome.PASSED and estimate.enough:
        needed = estimate.examples_needed(limit - sign * estimate.value, found.confidence)
    kept = None
    if interval is not None:
        kept = round(interval.low, _DIGITS), round(interval.high, _DIGITS)
    where = f"On {subject} ({_count(estimate)}) {found.sentence()}"
    return GateResult(
        name=name,
        outcome=outcome,
        value=round(estimate.value, _DIGITS),
        interval=kept,
        threshold=threshold,
        reason=f"{where}; {_why(found, outcome, limit)}{_more(found, outcome, needed)}.",
        needed=needed,
    )


def _why(found: Difference, outcome: Outcome, limit: float) -> str:
    worse = "lower" if found.metric.direction > 0 else "higher"
    better = "higher" if found.metric.direction > 0 else "lower"
    if outcome is Outcome.UNDECIDED and not found.estimate.enough:
        return (
            f"fewer than {statistics.FEWEST_CLUSTERS} independent groups cannot decide: name more "
            "examples, of more groups"
        )
    if limit > 0:
        words = {
            Outcome.PASSED: f"{limit:g} {worse} is allowed, and all of the interval is within that",
            Outcome.FAILED: f"all of the interval is above the {limit:g} {worse} that is allowed",
            Outcome.UNDECIDED: f"{limit:g} {worse} is allowed, and the interval goes beyond that",
        }
        return words[outcome]
    goal = better if limit == 0 else f"at least {-limit:g} {better}"
    words = {
        Outcome.PASSED: f"all of the interval is {goal}",
        Outcome.FAILED: f"none of the interval is {goal}",
        Outcome.UNDECIDED: f"not all of the interval is {goal}, so the two cannot be told apart",
    }
    return words[outcome]


def _more(found: Difference, outcome: Outcome, needed: int | None) -> str:
    if outcome is Outcome.PASSED or not found.estimate.enough:
        return ""
    if needed is None:
        return "" if outcome is Outcome.FAILED else "; more examples would hardly let it pass"
    ratio = needed / found.estimate.examples
    groups = max(found.estimate.clusters + 1, round(ratio * found.estimate.clusters))
    return (
        f"; if that is the true difference, about {needed:,} examples in {groups:,} groups would "
        "show it"
    )


def _count(estimate: statistics.Estimate) -> str:
    if estimate.clusters == estimate.examples:
        return f"{estimate.examples:,} examples"
    return f"{estimate.examples:,} examples in {estimate.clusters:,} groups"
