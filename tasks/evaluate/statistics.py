"""How sure a figure is: intervals over clusters of examples, for every figure from sums.

Examples of one group are not independent, so what varies by chance are groups: the figure is
computed again without each of them in turn, and how far it moves says how uncertain it is (the
delete-one-cluster jackknife; Tukey 1958, and CV3 of MacKinnon, Nielsen & Webb 2023, "Fast and
reliable jackknife and bootstrap methods for cluster-robust inference"). The interval is Student's,
with one degree of freedom fewer than there are clusters.

`python -m benchmarks.evaluate.error_rates` prints how often it is wrong on real losses, beside the
percentile bootstrap, which with few clusters is too narrow (Cameron, Gelbach & Miller 2008).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Figure = Callable[[Floats], Floats]
"""A figure from sums, shape (…, sums) → (…)."""

FEWEST_CLUSTERS = 6
"""Below this many clusters nothing is decided: with five of them even signs that all agree have a
probability of 1 in 32 by chance, more than the 2.5 % that a test may err."""

POWER = 0.8
"""Probability with which the number of examples that a gate asks for would decide."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between the ends of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured on one benchmark, summed by cluster."""

    sums: Floats
    """Shape (clusters, sums); for a ratio a numerator and a denominator."""
    examples: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, and how far it is from that of other examples of the same kind."""

    value: float
    error: float
    """Its standard error; NaN where a benchmark has one cluster only."""
    degrees: int
    """Degrees of freedom of the standard error: clusters less benchmarks."""
    clusters: int
    examples: int

    @property
    def known(self) -> bool:
        """Whether the standard error is known."""
        return math.isfinite(self.error)

    @property
    def enough(self) -> bool:
        """Whether there are clusters enough to decide on anything."""
        return self.known and self.degrees >= FEWEST_CLUSTERS - 1

    def interval(self, confidence: float, bounds: tuple[float, float] | None = None) -> Interval:
        """The two-sided interval; each end is wrong in half of 1 − `confidence`.

        Args:
            confidence: such as 0.95.
            bounds: between which every score is, where that is known. Then the interval is that of
                a proportion, with as many examples as the standard error is worth (Korn & Graubard
                1998, "Confidence intervals for proportions with small expected number of positive
                counts estimated from survey data"): it is inside the bounds, and never of width 0.

        Raises:
            ValueError: the standard error is not known.
        """
        if not self.known:
            raise ValueError("one cluster says nothing about how far others are from it")
        tail = (1 - confidence) / 2
        if bounds is not None:
            return self._proportion(tail, *bounds)
        reach = self.error * _t(1 - tail, self.degrees)
        return Interval(self.value, self.value - reach, self.value + reach)

    def _proportion(self, tail: float, least: float, most: float) -> Interval:
        from scipy.stats import beta

        share = min(1.0, max(0.0, (self.value - least) / (most - least)))
        error = self.error / (most - least)
        worth = share * (1 - share) / error**2 if error > 0 else 0.0
        # Without spread (all right, or all wrong) clusters are all that is known to be independent.
        count = worth * (_t(1 - tail, 1e9) / _t(1 - tail, self.degrees)) ** 2 or self.clusters
        right = share * count
        low = beta.ppf(tail, right, count - right + 1) if right > 0 else 0.0
        high = beta.ppf(1 - tail, right + 1, count - right) if right < count else 1.0
        width = most - least
        return Interval(self.value, least + width * float(low), least + width * float(high))

    def examples_needed(self, distance: float, confidence: float) -> int | None:
        """Examples with which a true value so far from the threshold is found with `POWER`.

        They are to come in clusters such as these: n · ((t + z) · standard error / distance)²,
        rounded up to two digits. None: the value is not on the side that passes.
        """
        if distance <= 0 or not self.known or self.error == 0:
            return None
        reach = _t(1 - (1 - confidence) / 2, self.degrees) + _t(POWER, 1e9)
        needed: float = self.examples * (reach * self.error / distance) ** 2
        if not math.isfinite(needed) or needed > 1e9:
            return None
        unit = int(10 ** max(0, math.floor(math.log10(max(needed, 1))) - 1))
        return unit * math.ceil(needed / unit)


def sample(totals: ArrayLike, groups: Sequence[str | None]) -> Sample:
    """Measurements of one benchmark, summed by group.

    An example without a group is a cluster of its own. Groups are believed, however few there are:
    rows of a few groups are not independent.

    Args:
        totals: shape (examples, sums).
        groups: the group of each example.
    """
    names = [(group, None if group is not None else i) for i, group in enumerate(groups)]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    rows = np.asarray(totals, dtype=np.float64)
    sums = np.zeros((len(number), rows.shape[1]))
    np.add.at(sums, [number[name] for name in names], rows)
    return Sample(sums, len(rows))


def ratio(totals: Floats) -> Floats:
    """Numerators by denominators, shape (…, 2) → (…).

    Raises:
        ValueError: a denominator is not positive.
    """
    if (totals[..., 1] <= 0).any():
        raise ValueError("nothing to divide by: every example needs a positive denominator")
    quotient: Floats = totals[..., 0] / totals[..., 1]
    return quotient


def estimate(samples: Sequence[Sample], figure: Figure = ratio) -> Estimate:
    """`figure` of the sums over all samples, with its standard error.

    Benchmarks are given and only their clusters are drawn, so what varies is what varies within
    each sample. A figure of differences of two systems on the same examples is a paired comparison.

    Args:
        samples: one for each benchmark.
        figure: from sums, shape (…, sums) → (…).

    Raises:
        ValueError: `figure` has none for these sums.
    """
    parts = [part.sums for part in samples]
    examples = sum(part.examples for part in samples)
    clusters = sum(map(len, parts))
    if any(len(part) < 2 for part in parts):
        value = figure(sum(part.sum(axis=-2) for part in parts))
        return Estimate(float(value), math.nan, 0, clusters, examples)
    value, variance = jackknife(parts, figure)
    error = math.sqrt(float(variance))
    return Estimate(float(value), error, clusters - len(parts), clusters, examples)


def jackknife(parts: Sequence[Floats], figure: Figure = ratio) -> tuple[Floats, Floats]:
    """A figure and its variance, for many draws at once.

    The variance is Σ (G − 1) / G · Σ (figure without a cluster − figure)², over samples of G
    clusters and over their clusters; without one, the others of its sample weigh so much more.

    Args:
        parts: for each sample the sums of its clusters, shape (…, clusters, sums).
        figure: from sums, shape (…, sums) → (…).

    Returns:
        Two arrays of shape (…).
    """
    total: Floats = sum(part.sum(axis=-2) for part in parts)
    value = figure(total)
    variance = np.zeros_like(value)
    for part in parts:
        count = part.shape[-2]
        # What is left of a sample counts for all of it: how large each sample is, is given.
        change = (part.sum(axis=-2)[..., None, :] - count * part) / (count - 1)
        moved = figure(total[..., None, :] + change) - value[..., None]
        variance = variance + (count - 1) / count * (moved**2).sum(axis=-1)
    return value, variance


def level(alpha: float, earlier: int, rounds: str) -> float:
    """The level of the test of one round, after so many earlier ones on the same benchmarks.

    `fixed`: `alpha` each time. `spending`: a share of `alpha` that falls as k^−1.6 with the number
    k of the round, all shares together being 1: whatever the number of rounds, the probability
    that any of them errs is at most `alpha` (alpha spending; Tian & Ramdas 2021, "Online control of
    the familywise error rate", with the series of Ramdas et al. 2018, "SAFFRON").

    Args:
        alpha: of one test, or of all together.
        earlier: number of rounds before this one.
        rounds: `fixed` or `spending`.
    """
    if rounds == "fixed":
        return alpha
    return float(alpha * (earlier + 1) ** -_FALL / _SUM)


_FALL = 1.6
_SUM = 2.2857656657  # of k^−1.6 over all k: Riemann's zeta of 1.6


def lucky(alpha: float, earlier: int, rounds: str) -> float:
    """Bound of the probability that one of the rounds so far, this one included, passed by luck."""
    spent = sum(level(alpha, look, rounds) for look in range(earlier + 1))
    return min(1.0, spent)


def _t(probability: float, degrees: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
