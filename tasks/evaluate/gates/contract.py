"""What every gate is, and what it sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tasks.evaluate import statistics
from tasks.evaluate.aggregation import interval
from tasks.evaluate.benchmarks import GENERAL
from tasks.evaluate.inputs import Evidence
from tasks.evaluate.items import Item
from tasks.evaluate.metrics import METRICS
from tasks.evaluate.results import GateResult, Outcome, Score, in_words
from tasks.settings import Settings

Need = Literal["champion", "general_probe"]


class Gate(Protocol):
    """A condition on a candidate.

    A class with this as its base defines the attributes, `decide`, and a docstring with the source
    of its method. It fails closed: what it cannot measure is undecided, not passed.
    """

    name: str
    """Key in files, in snake_case."""
    sentence: str
    """What is demanded, in words."""
    needs: frozenset[Need] = frozenset()
    """Without these the gate does not apply."""

    def decide(self, measured: "Measured") -> Sequence[GateResult]:
        """The results: one, or one for each benchmark, named `NAME:BENCHMARK`."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of the candidate less that of another system, on the same items."""

    metric: str
    other: str
    score: Score
    confidence: float

    def sentence(self) -> str:
        """`the candidate's loss is 0.100 nats a token lower than the champion's (…)`."""
        label, unit = self._words()
        if self.score.value == 0:
            return f"the candidate's {label} equals {self.name}'s ({self.range()})"
        direction = "higher" if self.score.value > 0 else "lower"
        size = f"{abs(self.score.value):.3f}{unit} {direction} than {self.name}'s"
        return f"the candidate's {label} is {size} ({self.range()})"

    def undecided_sentence(self) -> str:
        """`the candidate cannot be told from the champion: the difference in loss is …`."""
        label, unit = self._words()
        return (
            f"the candidate cannot be told from {self.name}: the difference in {label} is "
            f"{self.score.value:+.3f}{unit} ({self.range()}), and that includes 0"
        )

    def range(self) -> str:
        """The interval in words."""
        return (
            f"{100 * self.confidence:g}% interval {self.score.low:+.3f} to {self.score.high:+.3f}"
        )

    @property
    def name(self) -> str:
        """The other system in words."""
        return in_words(self.other)

    def _words(self) -> tuple[str, str]:
        metric = METRICS.get(self.metric)
        return metric.label, f" {metric.unit}" if metric.unit else ""


@dataclass(frozen=True, slots=True)
class Measured:
    """The items of every system, all systems on the same items."""

    items: Mapping[str, Mapping[str, Sequence[Item]]]
    """By system, then by benchmark; with `base`, `candidate` and, where there is one, `champion`.
    The benchmark named `GENERAL` is the general probe."""
    settings: Settings
    """`evaluate` gives the thresholds."""
    evidence: Evidence = field(default_factory=Evidence)
    """What the round knows beside its models."""

    @property
    def reference(self) -> Literal["base", "champion"]:
        """What the candidate is compared with."""
        return "champion" if "champion" in self.items else "base"

    @property
    def benchmarks(self) -> list[str]:
        """All benchmarks but the general probe."""
        return [name for name in self.items["candidate"] if name != GENERAL]

    @property
    def available(self) -> frozenset[str]:
        """What of `Gate.needs` is there."""
        champion = {"champion"} if "champion" in self.items else set()
        probe = {"general_probe"} if GENERAL in self.items["candidate"] else set()
        return frozenset(champion | probe)

    def difference(self, metric: str, other: str, benchmarks: Sequence[str]) -> Difference:
        """A paired difference over all items of some benchmarks.

        Raises:
            ValueError: the systems were not measured on the same items, or the metric is not
                `paired`.
        """
        samples = [self._paired(metric, other, name) for name in benchmarks]
        evaluate = self.settings.evaluate
        return Difference(metric, other, interval(samples, self.settings), evaluate.confidence)

    def _paired(self, name: str, other: str, benchmark: str) -> statistics.Sample:
        metric = METRICS.get(name)
        if not metric.paired:
            raise ValueError(f"{name}: no paired difference is defined")
        pairs = zip(self.items["candidate"][benchmark], self.items[other][benchmark], strict=True)
        totals, groups = [], []
        for candidate, reference in pairs:
            if candidate.id != reference.id:
                raise ValueError("the two systems were not measured on the same items")
            scores = metric.score(candidate), metric.score(reference)
            if scores[0] is None or scores[1] is None:
                continue
            above, below = metric.totals(candidate, scores[0])
            totals.append((above - metric.totals(reference, scores[1])[0], below))
            groups.append(candidate.group)
        return statistics.sample(totals, groups)


def limited(name: str, difference: Difference, limit: float, subject: str) -> GateResult:
    """A gate that passes unless the difference is clearly above `limit`.

    Args:
        name: of the result.
        difference: higher is worse.
        limit: largest difference that is allowed.
        subject: what was measured, `the general probe`.
    """
    passed = difference.score.low <= limit
    end = f"{limit:g} higher is allowed" if passed else f"clearly more than the {limit:g} allowed"
    return result(
        name,
        Outcome.PASSED if passed else Outcome.FAILED,
        difference.score,
        limit,
        f"On {subject} {difference.sentence()}; {end}.",
    )


def result(name: str, outcome: Outcome, score: Score, threshold: float, reason: str) -> GateResult:
    """A result with the interval of `score`."""
    return GateResult(
        name=name,
        outcome=outcome,
        value=score.value,
        interval=(score.low, score.high),
        threshold=threshold,
        reason=reason,
    )
