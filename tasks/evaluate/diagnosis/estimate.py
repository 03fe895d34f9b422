"""Means and ratios with their standard errors, for tests that need no resampling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FEWEST_CLUSTERS = 6  # below, nothing can be said at 2.5 % (Cameron, Gelbach & Miller 2008)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its standard error from `clusters` independent parts."""

    value: float
    error: float
    clusters: int

    def above(self, bound: float = 0.0, level: float = 0.025) -> bool:
        """Whether it is shown to be above `bound`: a one-sided t test at `level`."""
        if self.clusters < _FEWEST_CLUSTERS or not math.isfinite(self.error):
            return False
        from scipy.special import stdtrit  # a quantile of Student's t

        reach = float(stdtrit(self.clusters - 1, 1 - level)) * self.error
        return self.value - bound > reach

    def below(self, bound: float = 0.0, level: float = 0.025) -> bool:
        """Whether it is shown to be below `bound`."""
        return Estimate(-self.value, self.error, self.clusters).above(-bound, level)


def mean(values: Sequence[float], groups: Sequence[str | None]) -> Estimate | None:
    """The mean of values whose groups are independent; None of less than two groups."""
    return ratio(values, [1.0] * len(values), groups)


def ratio(
    above: Sequence[float], below: Sequence[float], groups: Sequence[str | None]
) -> Estimate | None:
    """Σ above / Σ below, with the clustered standard error of its linearisation.

    (Cochran 1977, "Sampling Techniques", ch. 6 and 9: the residuals above − ratio · below are
    summed in every cluster.)

    Args:
        above: numerator of each item.
        below: denominator of each item, together positive.
        groups: of each item; one without a group is a cluster of its own.
    """
    names = [i if group is None else group for i, group in enumerate(groups)]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    count = len(number)
    if count < 2:
        return None
    numerators, denominators = np.asarray(above, float), np.asarray(below, float)
    value = float(numerators.sum() / denominators.sum())
    sums = np.zeros(count)
    np.add.at(sums, [number[name] for name in names], numerators - value * denominators)
    error = math.sqrt(count / (count - 1) * float((sums**2).sum())) / float(denominators.sum())
    return Estimate(value, error, count)
