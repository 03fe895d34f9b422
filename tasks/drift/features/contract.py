"""What every feature group is, and what it sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.drift.rows import Row

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the units of one side, for many labellings at once.

    Attributes:
        features: sums of the rows' features, shape (labellings, features).
        rows: numbers of rows, shape (labellings,).
        spread: `Σ n (1 + (n − 1) ICC)` over units of n rows: the variance of the sum in units of
            that of one row.
    """

    features: Floats
    rows: Floats
    spread: Floats


Statistic = Callable[[Sums, Sums], Floats]


@dataclass(frozen=True, slots=True)
class Features:
    """The rows of both sides as vectors.

    Attributes:
        matrix: shape (rows, features), finite.
        present: the rows that have what is compared; the others count for neither side.
        statistic: how two sides are compared, from the sums of each.
    """

    matrix: Floats
    present: NDArray[np.bool_]
    statistic: Statistic


@dataclass(frozen=True, slots=True)
class Pool:
    """The rows of both sides together, in an order that does not depend on their side.

    Attributes:
        rows: the rows.
        max_characters: of a longer text, only beginning and end are compared.
        most_copies: copies of one request up to this number may be retries.
        repeats_are_known: whether the reference still has its repeated requests (curation
            removes them).
        seed: of whatever is random.
    """

    rows: Sequence[Row]
    max_characters: int
    most_copies: int
    repeats_are_known: bool
    seed: int


class FeatureGroup(Protocol):
    """One aspect of traffic, compared by a test of its own.

    It sees the rows of both sides without their side: only then does permuting the sides keep the
    error rate. It is a class without state.
    """

    name: str
    """Key in results, in snake_case."""
    sentence: str
    """What is compared, in words."""
    in_prompts: bool = False
    """Whether prompts alone have it: then it is compared with references that keep nothing else."""

    def features(self, pool: Pool) -> Features | None:
        """The rows as vectors; None: no row of either side has what is compared."""
        ...

    def text(self, row: Row) -> str | None:
        """What a person looks at to see a shift of this kind; None: the row has nothing of it."""
        ...


def mean_difference(one: Sums, other: Sums) -> Floats:
    """Squared distance of the sides' means, in units of its sampling variance.

    With the features of a kernel this is the squared maximum mean discrepancy (Gretton et al. 2012,
    section 2.2) divided by `V(one) + V(other)`, V a side's design effect over its rows: a
    studentised statistic keeps the level where groups of the sides differ in size (Janssen 1997;
    Chung & Romano 2013).
    """
    rows_one, rows_other = np.maximum(one.rows, 1), np.maximum(other.rows, 1)
    difference = one.features / rows_one[:, None] - other.features / rows_other[:, None]
    variance = one.spread / rows_one**2 + other.spread / rows_other**2
    squares = np.einsum("ij,ij->i", difference, difference)
    empty = (one.rows < 1) | (other.rows < 1)
    return np.asarray(np.where(empty, 0, squares / np.maximum(variance, 1e-12)), dtype=np.float32)
