"""What a candidate must reach before a person is asked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.evaluate import statistics
from tasks.evaluate.evaluation import Row, by_benchmark, interval
from tasks.settings import Settings

GENERAL = "general"
"""Name of the benchmark that the general probe is."""

_NAMES = {"base": "the base model", "champion": "the champion"}

Gate = dict[str, Any]


def decide(rows: Mapping[str, Sequence[Row]], settings: Settings) -> list[Gate]:
    """Hold the candidate against the champion, or the base model where there is none.

    Every comparison is paired: both models on the same examples, intervals by the bootstrap over
    clusters of their differences (`statistics.ratio`), in nats a target token.

    Args:
        rows: lines of `examples.jsonl` of "base", "candidate" and, where there is one, "champion",
            all on the same benchmarks; the one named `GENERAL` counts only for the gate "general".
        settings: `judge` gives the thresholds.

    Returns:
        Gates, each with `name`, `passed`, `value`, `interval`, `threshold` and `reason`, a
        sentence: "better", then "no_regression:<benchmark>" for each benchmark where there is a
        champion, then "general" where there is a probe.
    """
    parts = {model: by_benchmark(its) for model, its in rows.items()}
    candidate = parts["candidate"]
    reference = "champion" if "champion" in rows else "base"
    names = [name for name in candidate if name != GENERAL]
    differences = {name: _difference(candidate[name], parts[reference][name]) for name in names}
    gates = [_better(list(differences.values()), reference, settings)]
    if reference == "champion":
        gates += [_no_regression(name, differences[name], settings) for name in names]
    if GENERAL in candidate:
        gates.append(_general(_difference(candidate[GENERAL], parts["base"][GENERAL]), settings))
    return gates


def _better(samples: list[statistics.Sample], reference: str, settings: Settings) -> Gate:
    found = interval(samples, settings)
    count = sum(len(sample.numerators) for sample in samples)
    other = _NAMES[reference]
    passed = found.high < 0
    reason = f"On {count} held-out examples {_change(found, other, settings)}"
    if count < statistics.FEWEST_CLUSTERS:
        passed = False
        reason = (
            f"{count} held-out examples are too few to tell the candidate from {other}: at least "
            f"{statistics.FEWEST_CLUSTERS} are needed"
        )
    elif not passed and found.low <= 0:
        reason = (
            f"On {count} held-out examples the candidate cannot be told from {other}: "
            f"the difference in loss is {found.value:+.3f} nats a token "
            f"({_range(found, settings)}), and that includes 0"
        )
    return _gate("better", passed, found, 0.0, reason)


def _no_regression(name: str, sample: statistics.Sample, settings: Settings) -> Gate:
    found = interval([sample], settings)
    limit = settings.judge.max_regression
    passed = found.low <= limit
    reason = f"On {name} {_change(found, _NAMES['champion'], settings)}; {_limit(passed, limit)}"
    return _gate(f"no_regression:{name}", passed, found, limit, reason)


def _general(sample: statistics.Sample, settings: Settings) -> Gate:
    found = interval([sample], settings)
    limit = settings.judge.max_general_loss_increase
    passed = found.low <= limit
    change = _change(found, _NAMES["base"], settings)
    reason = f"On the general probe {change}; {_limit(passed, limit)}"
    return _gate("general", passed, found, limit, reason)


def _difference(candidate: Sequence[Row], reference: Sequence[Row]) -> statistics.Sample:
    pairs = list(zip(candidate, reference, strict=True))
    if any(ours["id"] != theirs["id"] for ours, theirs in pairs):
        raise ValueError("the two models were not measured on the same examples")
    return statistics.sample(
        np.array([ours["nll"] - theirs["nll"] for ours, theirs in pairs]),
        np.array([ours["tokens"] for ours, _ in pairs]),
        [ours["group"] for ours, _ in pairs],
    )


def _change(found: statistics.Interval, other: str, settings: Settings) -> str:
    if found.value == 0:
        return f"the candidate's loss equals {other}'s ({_range(found, settings)})"
    direction = "higher" if found.value > 0 else "lower"
    size = f"{abs(found.value):.3f} nats a token {direction} than {other}'s"
    return f"the candidate's loss is {size} ({_range(found, settings)})"


def _limit(passed: bool, limit: float) -> str:
    return f"{limit:g} higher is allowed" if passed else f"clearly more than the {limit:g} allowed"


def _range(found: statistics.Interval, settings: Settings) -> str:
    share = f"{100 * settings.judge.confidence:g}% interval"
    return f"{share} {found.low:+.3f} to {found.high:+.3f}"


def _gate(
    name: str, passed: bool, found: statistics.Interval, threshold: float, reason: str
) -> Gate:
    return {
        "name": name,
        "passed": passed,
        "value": found.value,
        "interval": [found.low, found.high],
        "threshold": threshold,
        "reason": f"{reason}.",
    }
