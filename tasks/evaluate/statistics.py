"""How sure a figure is: bootstrap intervals over examples that are not independent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Below this many clusters their resampling says little about the spread (Cameron, Gelbach &
# Miller 2008, "Bootstrap-Based Improvements for Inference with Clustered Errors").
FEWEST_CLUSTERS = 10

_DRAWS_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between the ends of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured on one benchmark, a row for each example.

    A figure is a function of the sums of `totals` over the examples.
    """

    totals: Floats
    """Shape (examples, sums); for a ratio a numerator and a denominator."""
    clusters: NDArray[np.int64]
    """Number of each example's cluster, from 0; examples of one cluster are drawn together."""


def sample(totals: ArrayLike, groups: Sequence[str | None]) -> Sample:
    """Measurements of one benchmark, clustered by group where there are enough groups.

    An example without a group is a cluster of its own; with fewer than `FEWEST_CLUSTERS` clusters
    every example is.

    Args:
        totals: shape (examples, sums).
        groups: the group of each example.
    """
    names = [(group, None if group is not None else i) for i, group in enumerate(groups)]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    clusters = [number[name] for name in names]
    if len(number) < FEWEST_CLUSTERS:
        clusters = list(range(len(names)))
    return Sample(np.asarray(totals, dtype=np.float64), np.asarray(clusters, dtype=np.int64))


def ratio(totals: Floats) -> Floats:
    """Numerators by denominators, shape (…, 2) → (…).

    Raises:
        ValueError: a denominator is not positive.
    """
    if (totals[..., 1] <= 0).any():
        raise ValueError("nothing to divide by: every example needs a positive denominator")
    quotient: Floats = totals[..., 0] / totals[..., 1]
    return quotient


def bootstrap(
    samples: Sequence[Sample],
    resamples: int,
    confidence: float,
    seed: int,
    figure: Callable[[Floats], Floats] = ratio,
) -> Interval:
    """`figure` of the sums over all samples, with its percentile bootstrap interval.

    Clusters are drawn with replacement, within each sample separately, since the benchmarks are
    given and only their examples are drawn (Efron & Tibshirani 1993, ch. 8 and 13). Differences of
    two systems on the same examples as numerators make it the paired bootstrap (Koehn 2004).

    Args:
        samples: one for each benchmark.
        resamples: number of draws.
        confidence: of the interval, such as 0.95.
        seed: of the draws.
        figure: from sums, shape (…, sums) → (…).

    Raises:
        ValueError: `figure` has none for the sums of a draw.
    """
    draw = np.random.default_rng(seed)
    columns = samples[0].totals.shape[1]
    drawn = np.zeros((resamples, columns))
    total = np.zeros(columns)
    for part in samples:
        sums = np.zeros((int(part.clusters.max()) + 1, columns))
        np.add.at(sums, part.clusters, part.totals)
        total += sums.sum(axis=0)
        drawn += _resampled(sums, resamples, draw)
    tail = (1 - confidence) / 2
    low, high = np.quantile(figure(drawn), [tail, 1 - tail])
    return Interval(float(figure(total)), float(low), float(high))


def _resampled(sums: Floats, resamples: int, draw: np.random.Generator) -> Floats:
    """Sums over `resamples` draws with replacement of the rows of `sums`: [resamples, columns]."""
    size = len(sums)
    parts = []
    at_once = max(1, _DRAWS_AT_ONCE // size)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        chosen = draw.integers(0, size, (rows, size)) + np.arange(rows)[:, None] * size
        counts = np.bincount(chosen.ravel(), minlength=rows * size).reshape(rows, size)
        parts.append(counts.astype(np.float64) @ sums)
    return np.concatenate(parts)
