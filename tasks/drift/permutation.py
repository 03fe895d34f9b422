"""The two-sample test that decides: maximum mean discrepancy, calibrated by permutation."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.drift.results import DriftTest

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Squared discrepancy and p-value of each kernel, corrected for the number of kernels."""

    statistics: dict[str, float]
    p_values: dict[str, float]

    @property
    def p_value(self) -> float:
        """The p-value of the test as a whole."""
        return min(self.p_values.values())

    def tests(self, alpha: float) -> tuple[DriftTest, ...]:
        """One test a kernel, with `alpha` as its threshold."""
        return tuple(
            DriftTest(name=name, statistic=self.statistics[name], p_value=p_value, threshold=alpha)
            for name, p_value in self.p_values.items()
        )


def gaussian_kernel(features: Floats) -> Floats:
    """exp(−d² / median d²) over all pairs of rows, shape (rows, rows).

    The median heuristic of Gretton et al. (2012, section 8), over the pairs that differ.
    """
    squares = np.einsum("ij,ij->i", features, features)
    distances = squares[:, None] + squares[None, :] - 2 * features @ features.T
    np.maximum(distances, 0, out=distances)
    np.fill_diagonal(distances, 0)
    positive = distances[distances > 1e-12]
    scale = np.median(positive) if positive.size else 1.0
    return np.asarray(np.exp(-distances / scale))


def permutation_test(
    kernels: Mapping[str, Floats], is_current: NDArray[np.bool_], permutations: int, seed: int
) -> Outcome:
    """Test whether two samples come from one distribution, by several kernels at once.

    The statistic of each kernel is the squared maximum mean discrepancy (Gretton et al. 2012,
    the biased estimate). The same random relabellings of the rows calibrate all of them: each
    kernel's p-value is corrected for the number of kernels by the permutation distribution of the
    smallest p-value (Westfall & Young 1993, single step), which respects the dependence between
    kernels and so costs less power than Bonferroni's bound. The smallest corrected p-value is
    the p-value of the whole: below alpha with a probability of at most alpha where the rows are
    exchangeable, at every sample size. The least value that it can take is 1 / (permutations + 1).

    Args:
        kernels: kernel matrices over the pooled rows, computed without the sides.
        is_current: the side of every row; both sides occur.
        permutations: number of random relabellings beside the observed labelling.
        seed: of these relabellings.
    """
    sides = _relabellings(is_current, permutations, seed)
    size = int(is_current.sum())
    weights = np.where(sides, 1 / size, -1 / (len(is_current) - size)).T
    values = np.array(
        [np.einsum("ib,ib->b", weights, kernel @ weights) for kernel in kernels.values()]
    )
    scores = np.array([_score(row) for row in values])
    highest = scores.max(axis=0)
    return Outcome(
        statistics={name: float(max(row[0], 0)) for name, row in zip(kernels, values, strict=True)},
        p_values={
            name: float(np.mean(highest >= row[0]))
            for name, row in zip(kernels, scores, strict=True)
        },
    )


def _relabellings(is_current: NDArray[np.bool_], permutations: int, seed: int) -> NDArray[np.bool_]:
    """The observed labelling and then random ones of the same sizes, (permutations + 1, rows)."""
    rows, size = len(is_current), int(is_current.sum())
    # Drawing the smaller side makes the test symmetric: swapped sides give the same p-value.
    smaller = min(size, rows - size)
    keys = np.random.default_rng(seed).random((permutations, rows))
    sides = np.zeros((permutations + 1, rows), dtype=bool)
    np.put_along_axis(sides[1:], np.argsort(keys, axis=1)[:, :smaller], True, axis=1)
    if smaller != size:
        sides = ~sides
    sides[0] = is_current
    return sides


def _score(values: Floats) -> Floats:
    """How extreme each labelling is among all: the number of labellings that it exceeds.

    Equal statistics (up to rounding) get equal scores. Two kernels that both lead cannot be told
    apart by their ranks: the standardised value, squeezed below one rank, breaks such ties.
    """
    spread = values.std()
    if spread <= 1e-12:
        return np.zeros_like(values)
    rounded = np.round((values - values.mean()) / spread, 9)
    below = np.searchsorted(np.sort(rounded), rounded, side="left")
    return np.asarray(below + 0.5 * rounded / (1 + np.abs(rounded)))
