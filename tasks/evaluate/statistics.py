"""How sure a figure is: bootstrap intervals over examples that are not independent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    """What was measured on one benchmark; the three have one entry an example.

    The figure of interest is Σ numerators / Σ denominators; examples of one cluster stay together.
    """

    numerators: NDArray[np.float64]
    denominators: NDArray[np.float64]
    clusters: NDArray[np.int64]


def sample(numerators: ArrayLike, denominators: ArrayLike, groups: Sequence[str | None]) -> Sample:
    """Measurements of one benchmark, clustered by group where there are enough groups.

    An example without a group is a cluster of its own; with fewer than `FEWEST_CLUSTERS` clusters
    every example is.
    """
    names = [(group, None if group is not None else at) for at, group in enumerate(groups)]
    number = {name: at for at, name in enumerate(dict.fromkeys(names))}
    clusters = [number[name] for name in names]
    if len(number) < FEWEST_CLUSTERS:
        clusters = list(range(len(names)))
    return Sample(
        np.asarray(numerators, dtype=np.float64),
        np.asarray(denominators, dtype=np.float64),
        np.asarray(clusters, dtype=np.int64),
    )


def ratio(samples: Sequence[Sample], resamples: int, confidence: float, seed: int) -> Interval:
    """Σ numerators / Σ denominators over all samples, with its percentile bootstrap interval.

    Clusters are drawn with replacement, within each sample apart, since the benchmarks are given
    and only their examples are drawn (Efron & Tibshirani 1993, ch. 8 and 13). Differences of two
    models on the same examples as numerators make it the paired bootstrap (Koehn 2004).

    Raises:
        ValueError: the denominators of a resample add up to nothing.
    """
    draw = np.random.default_rng(seed)
    drawn = np.zeros((resamples, 2))
    total = np.zeros(2)
    for part in samples:
        values = np.stack([part.numerators, part.denominators], axis=1)
        sums = np.zeros((int(part.clusters.max()) + 1, 2))
        np.add.at(sums, part.clusters, values)
        total += sums.sum(axis=0)
        drawn += _resampled(sums, resamples, draw)
    if total[1] <= 0 or (drawn[:, 1] <= 0).any():
        raise ValueError("nothing to divide by: every example needs a positive denominator")
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [tail, 1 - tail])
    return Interval(float(total[0] / total[1]), float(low), float(high))


def _resampled(
    sums: NDArray[np.float64], resamples: int, draw: np.random.Generator
) -> NDArray[np.float64]:
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
