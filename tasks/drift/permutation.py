"""The test that decides: whole groups of rows are permuted, for all feature groups at once."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.drift.features.contract import Features, Sums
from tasks.drift.results import DriftTest, Effective, Sample

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_PILOT = 1000
_ENOUGH = 20
"""Labellings as extreme as the observed one after which no more are drawn."""
_CELLS = 2**22
"""Labels in memory at once."""
_MOST_UNITS = 500
"""Units of the smaller side that are permuted one by one; more are permuted by bundles."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Statistic and p-value of each test, corrected for the number of tests.

    Attributes:
        statistics: by test.
        p_values: by test.
        scores: by test, how extreme its statistic is by the fitted distribution: comparable.
        permutations: labellings that were drawn.
    """

    statistics: dict[str, float]
    p_values: dict[str, float]
    scores: dict[str, float]
    permutations: int

    @property
    def p_value(self) -> float:
        """The p-value of the tests as a whole."""
        return min(self.p_values.values())

    def tests(self, alpha: float) -> tuple[DriftTest, ...]:
        """With `alpha` as the threshold of each."""
        return tuple(
            DriftTest(name=name, statistic=self.statistics[name], p_value=p_value, threshold=alpha)
            for name, p_value in self.p_values.items()
        )


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where a test's sums are in the table of units."""

    features: Features
    place: slice

    def statistic(self, sums: Floats, total: Floats) -> Floats:
        one, all_rows = sums[:, self.place], total[None, self.place]
        return self.features.statistic(_sums(one), _sums(all_rows - one))


def _sums(table: Floats) -> Sums:
    return Sums(features=table[:, :-2], rows=table[:, -2], spread=table[:, -1])


def permutation_test(
    features: Mapping[str, Features],
    units: Ints,
    is_current: NDArray[np.bool_],
    *,
    alpha: float,
    permutations: int,
    seed: int,
) -> Outcome:
    """Test whether two sides come from one distribution, by several feature groups at once.

    Whole units change sides, so rows of one unit may depend on each other in any way. Each test's
    statistics are mapped to p-values by a gamma distribution fitted to labellings drawn before; the
    smallest of them is compared with its own permutation distribution (Westfall & Young 1993,
    single step), which respects the dependence between tests. The fit decides only how the tests
    share alpha: p-values are shares of labellings, exact where units are exchangeable.

    Labellings are drawn until 20 are as extreme as the observed one, or as many as alpha needs
    (Besag & Clifford 1991, "Sequential Monte Carlo p-values"); at least `permutations`.

    Where both sides have many units, bundles of them are permuted instead, drawn at random within
    a side: a subset of all labellings under which the test is exact as well.

    Args:
        features: of the pooled rows, by test.
        units: the unit of each row; a unit is of one side.
        is_current: the side of each row; both occur.
        alpha: the level that a p-value must be able to reach.
        permutations: labellings drawn at least.
        seed: of the labellings.
    """
    draws = np.random.default_rng(seed)
    table, columns, sides = _table(features, units, is_current, draws)
    total = table.sum(axis=0, dtype=np.float64).astype(np.float32)
    smaller = min(int(sides.sum()), int((~sides).sum()))
    # The smaller side is drawn: swapped sides give the same figures.
    observed = sides if int(sides.sum()) == smaller else ~sides
    observed_sums = observed[None].astype(np.float32) @ table
    first = _statistics(columns, observed_sums, total)[0]
    pilot = np.vstack(
        [_statistics(columns, sums, total) for sums in _labellings(table, smaller, _PILOT, draws)]
    )
    scores = _Scores(pilot)
    score = scores.of(first[None])[0]
    exceeding = np.zeros(len(columns), dtype=np.int64)
    drawn = 0
    for sums in _labellings(table, smaller, _most(alpha, permutations), draws):
        highest = scores.of(_statistics(columns, sums, total)).max(axis=1)
        exceeding += (highest[:, None] >= score[None]).sum(axis=0)
        drawn += len(highest)
        if drawn >= permutations and exceeding.min() >= _ENOUGH:
            break
    p_values = (exceeding + 1) / (drawn + 1)
    return Outcome(
        statistics={name: float(value) for name, value in zip(columns, first, strict=True)},
        p_values={name: float(value) for name, value in zip(columns, p_values, strict=True)},
        scores={name: float(value) for name, value in zip(columns, score, strict=True)},
        permutations=drawn,
    )


def effective(features: Features, units: Ints, is_current: NDArray[np.bool_]) -> Effective:
    """Units of each side, and its rows divided by their design effect (Kish 1965).

    The design effect is `Σ n (1 + (n − 1) ICC) / Σ n` over units of n rows, with the intra-class
    correlation of `features`.
    """
    correlation = _correlation(features.matrix, features.present, units)
    found = []
    for side in (False, True):
        sizes = np.unique(units[is_current == side], return_counts=True)[1]
        spread = float((sizes * (1 + (sizes - 1) * correlation)).sum())
        rows = sizes.sum() ** 2 / spread if spread else 0.0
        found.append(Sample(groups=len(sizes), rows=round(float(rows), 1)))
    return Effective(reference=found[0], current=found[1])


def least_p_value(units: Ints, is_current: NDArray[np.bool_]) -> float:
    """The smallest p-value that labellings of these units can give."""
    current = len(np.unique(units[is_current]))
    return 1 / math.comb(len(np.unique(units)), current)


def _most(alpha: float, permutations: int) -> int:
    """Labellings that resolve alpha: exactly one share where it is tiny, else a few of them."""
    return max(permutations, math.ceil(1 / alpha), min(math.ceil(5 / alpha), 20_000))


class _Scores:
    """Statistics of any tests on one scale: −log of a p-value by a fitted gamma distribution."""

    def __init__(self, pilot: Floats) -> None:
        mean, variance = pilot.mean(axis=0), pilot.var(axis=0)
        self._constant = variance <= 1e-10 * np.maximum(mean, 1e-6) ** 2
        safe = np.where(self._constant, 1.0, variance)
        self._shape = np.where(self._constant, 1.0, np.maximum(mean, 1e-9) ** 2 / safe)
        self._scale = np.where(self._constant, 1.0, safe / np.maximum(mean, 1e-9))
        self._mean = mean

    def of(self, statistics: Floats) -> NDArray[np.float64]:
        from scipy.special import gammaincc

        ratio = statistics / self._scale
        with np.errstate(divide="ignore"):
            scores = -np.log(gammaincc(self._shape, ratio))
        # Beyond what a double can hold, the statistic itself orders.
        scores = np.where(np.isinf(scores), 700 + ratio, scores)
        # A test whose pilot shows one value alone tells by leaving it.
        moved = np.where(np.abs(statistics - self._mean) > 1e-6, 700 + statistics, 0.0)
        # Equal labellings have equal scores whatever the rounding.
        return np.asarray(np.round(np.where(self._constant, moved, scores), 4), dtype=np.float64)


def _table(
    features: Mapping[str, Features],
    units: Ints,
    is_current: NDArray[np.bool_],
    draws: np.random.Generator,
) -> tuple[Floats, dict[str, _Columns], NDArray[np.bool_]]:
    """Sums of features, rows and spread of each unit (or bundle), test by test, and its side."""
    from scipy.sparse import csr_matrix

    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    sides = is_current[first]
    bundle, bundle_sides = _bundles(sides, draws)
    count, bundles = len(first), len(bundle_sides)
    into = csr_matrix(
        (np.ones(count, dtype=np.float32), (bundle, np.arange(count))), shape=(bundles, count)
    )
    parts, columns, place = [], {}, 0
    for name, found in features.items():
        ones = found.present.astype(np.float32)
        gather = csr_matrix((ones, (unit, np.arange(len(unit)))), shape=(count, len(unit)))
        sizes = np.asarray(gather.sum(axis=1)).reshape(-1, 1)
        correlation = _correlation(found.matrix, found.present, units)
        spread = sizes * (1 + np.maximum(sizes - 1, 0) * correlation)
        part = np.hstack([gather @ found.matrix, sizes, spread]).astype(np.float32)
        parts.append(into @ part)
        columns[name] = _Columns(found, slice(place, place + part.shape[1]))
        place += part.shape[1]
    return np.ascontiguousarray(np.hstack(parts)), columns, bundle_sides


def _bundles(
    sides: NDArray[np.bool_], draws: np.random.Generator
) -> tuple[Ints, NDArray[np.bool_]]:
    """The bundle of each unit, and the side of each bundle."""
    smaller = min(int(sides.sum()), int((~sides).sum()))
    size = smaller // _MOST_UNITS
    if size < 2:
        return np.arange(len(sides)), sides
    bundle = np.empty(len(sides), dtype=np.int64)
    start, found = 0, []
    # The smaller side first, so that swapped sides draw alike.
    order = sorted((False, True), key=lambda side: int((sides == side).sum()))
    for side in order:
        places = np.flatnonzero(sides == side)
        count = len(places) // size
        bundle[draws.permutation(places)] = start + np.arange(len(places)) % count
        found += [side] * count
        start += count
    return bundle, np.array(found)


def _labellings(
    table: Floats, smaller: int, count: int, draws: np.random.Generator
) -> Iterator[Floats]:
    """Sums over random choices of `smaller` units, many at once."""
    units = len(table)
    at_once = max(1, min(1000, _CELLS // units))
    while count > 0:
        size = min(at_once, count)
        # The units with the smallest keys; two keys are equal once in four billion pairs.
        keys = draws.integers(0, 2**32, (size, units), dtype=np.uint32)
        last = np.partition(keys, smaller - 1, axis=1)[:, smaller - 1 : smaller]
        yield (keys <= last).astype(np.float32) @ table
        count -= size


def _statistics(columns: Mapping[str, _Columns], sums: Floats, total: Floats) -> Floats:
    return np.stack([column.statistic(sums, total) for column in columns.values()], axis=1)


def _correlation(matrix: Floats, present: NDArray[np.bool_], units: Ints) -> float:
    """Intra-class correlation of the features within units, by analysis of variance."""
    values = matrix[present].astype(np.float64)
    _, unit, sizes = np.unique(units[present], return_inverse=True, return_counts=True)
    groups, rows = len(sizes), len(values)
    if groups < 2 or rows == groups:
        return 0.0
    sums = np.zeros((groups, values.shape[1]))
    np.add.at(sums, unit, values)
    means = sums / sizes[:, None]
    within = float(((values - means[unit]) ** 2).sum()) / (rows - groups)
    between = float((sizes[:, None] * (means - values.mean(axis=0)) ** 2).sum()) / (groups - 1)
    typical = (rows - float((sizes**2).sum()) / rows) / (groups - 1)
    both = between + (typical - 1) * within
    return min(max((between - within) / both, 0.0), 1.0) if both > 0 else 0.0
