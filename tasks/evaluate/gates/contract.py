"""What every gate is, and what it sees."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from tasks.evaluate import statistics
from tasks.evaluate.inputs import Evidence, Systems
from tasks.evaluate.items import GENERAL, TRAFFIC, Item
from tasks.evaluate.metrics import METRICS, Metric
from tasks.evaluate.results import GateResult, in_words
from tasks.settings.section import Section

if TYPE_CHECKING:
    from tasks.settings import Settings

Need = Literal["champion", "general_probe"]


class Gate(Protocol):
    """A condition on a candidate.

    A class with this as its base defines the attributes, `decide`, and a docstring with the source
    of its method. It fails closed: what it cannot measure is undecided, not passed.
    """

    name: str
    """Key in files and settings, in snake_case."""
    sentence: str
    """What is demanded, in words."""
    needs: frozenset[Need] = frozenset()
    """Without these the gate does not apply."""
    settings: type[Section] = Section
    """Its keys in `evaluate.gates`; where one has the gate's name, null means no such gate."""
    metrics: frozenset[str] = frozenset()
    """Keys of its settings that are mappings by metrics' names."""

    def decide(self, measured: "Measured") -> Sequence[GateResult]:
        """The results: one, or one for each benchmark, named `NAME:BENCHMARK`.

        None at all: the gate does not apply to these benchmarks.
        """
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of the candidate less that of another system, on the same items."""

    metric: Metric
    other: str
    estimate: statistics.Estimate
    level: float
    """Probability with which one end of the interval is wrong."""

    @property
    def interval(self) -> statistics.Interval | None:
        """None where nothing is known about the spread."""
        estimate = self.estimate
        if not estimate.known:
            return None
        found = estimate.interval(self.confidence)
        bounds = self.metric.bounds
        if bounds is None or estimate.error > 0:
            return found
        # Equal scores on every item: others may differ in as many as would not show here.
        reach = (bounds[1] - bounds[0]) * (1 - self.level ** (1 / estimate.clusters))
        return statistics.Interval(found.value, found.value - reach, found.value + reach)

    @property
    def confidence(self) -> float:
        """Of the two-sided interval."""
        return 1 - 2 * self.level

    def sentence(self) -> str:
        """`the candidate's loss is 0.100 nats a token lower than the champion's (…)`."""
        label, value = self.metric.label, self.estimate.value
        if value == 0:
            return f"the candidate's {label} equals {self.name}'s ({self.range()})"
        direction = "higher" if value > 0 else "lower"
        size = f"{abs(value):.3f}{self.unit} {direction} than {self.name}'s"
        return f"the candidate's {label} is {size} ({self.range()})"

    def range(self) -> str:
        """The interval in words."""
        found = self.interval
        if found is None:
            return "of one group, so without an interval"
        percent = f"{100 * self.confidence:.1f}".removesuffix(".0")
        return f"{percent}% interval {found.low:+.3f} to {found.high:+.3f}"

    @property
    def name(self) -> str:
        """The other system in words."""
        return in_words(self.other)

    @property
    def unit(self) -> str:
        """With a space before it, or nothing."""
        return f" {self.metric.unit}" if self.metric.unit else ""


@dataclass(frozen=True)
class Measured:
    """The items of every system, all systems on the same items."""

    items: Mapping[str, Mapping[str, Sequence[Item]]]
    """By system, then by benchmark; with `base`, `candidate` and, where there is one, `champion`.
    The benchmark named `GENERAL` is the general probe."""
    settings: "Settings"
    """`evaluate` gives the thresholds."""
    evidence: Evidence = field(default_factory=Evidence)
    """What the round knows beside its models."""
    systems: Systems | None = None
    """The folders of the models, where they are known."""

    @property
    def reference(self) -> Literal["base", "champion"]:
        """What the candidate is compared with."""
        return "champion" if "champion" in self.items else "base"

    @property
    def benchmarks(self) -> list[str]:
        """All benchmarks but the general probe and the window of traffic."""
        return [name for name in self.items["candidate"] if name not in (GENERAL, TRAFFIC)]

    @property
    def available(self) -> frozenset[str]:
        """What of `Gate.needs` is there."""
        champion = {"champion"} if "champion" in self.items else set()
        probe = {"general_probe"} if GENERAL in self.items["candidate"] else set()
        return frozenset(champion | probe)

    @cached_property
    def level(self) -> float:
        """Probability with which a gate's test may err in this round."""
        options = self.settings.evaluate
        return statistics.level(options.alpha, self.evidence.looks, options.rounds)

    def metric(self, name: str, benchmarks: Iterable[str]) -> Metric | None:
        """The metric as it applies to some benchmarks; None: it does not."""
        items = [item for benchmark in benchmarks for item in self.items["candidate"][benchmark]]
        return METRICS.get(name).on(items)

    def difference(self, metric: str, other: str, benchmarks: Sequence[str]) -> Difference | None:
        """A paired difference over all items of some benchmarks; None: no item has the metric.

        Raises:
            ValueError: the systems were not measured on the same items.
        """
        found = self.metric(metric, benchmarks)
        if found is None:
            return None
        samples = [self._paired(found, other, name) for name in benchmarks]
        samples = [sample for sample in samples if sample.examples]
        if not samples:
            return None
        count = samples[0].sums.shape[-1] // 2

        def figure(sums: statistics.Floats) -> statistics.Floats:
            return found.figure(sums[..., :count]) - found.figure(sums[..., count:])

        estimate = statistics.estimate(samples, figure)
        return Difference(found, other, estimate, self.level)

    def _paired(self, metric: Metric, other: str, benchmark: str) -> statistics.Sample:
        pairs = zip(self.items["candidate"][benchmark], self.items[other][benchmark], strict=True)
        totals, groups = [], []
        for candidate, reference in pairs:
            if candidate.id != reference.id:
                raise ValueError("the two systems were not measured on the same items")
            scores = metric.score(candidate), metric.score(reference)
            if scores[0] is None or scores[1] is None:
                continue
            ours = metric.totals(candidate, scores[0])
            totals.append((*ours, *metric.totals(reference, scores[1])))
            groups.append(metric.cluster(candidate))
        if not totals:
            return statistics.Sample(np.zeros((0, 2)), 0)
        return statistics.sample(totals, groups)
