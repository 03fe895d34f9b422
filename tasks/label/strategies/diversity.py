"""Rows unlike each other."""

import numpy as np

from tasks.label.pool import Floats, Pool
from tasks.label.strategies import STRATEGIES


@STRATEGIES.register
class Diversity:
    """Rows that cover the window: each is drawn by its distance to those chosen before."""

    name = "diversity"
    meaning = (
        "Rows unlike each other: each is drawn with a probability that grows with the squared "
        "distance to those chosen before (k-means++, Arthur & Vassilvitskii 2007)."
    )

    def choose(self, pool: Pool, count: int, seed: int) -> list[int]:
        """As `Strategy.choose`."""
        return far_apart(pool.vectors, pool.groups, count, seed)

    def reason(self, pool: Pool, row: int) -> str:  # noqa: ARG002
        """As `Strategy.reason`."""
        return "unlike the other rows chosen"


def far_apart(places: Floats, groups: tuple[str, ...], count: int, seed: int) -> list[int]:
    """The seeding of k-means++ (Arthur & Vassilvitskii 2007): the first row is the longest vector
    (as BADGE has it, Ash et al. 2020), each other is drawn with a probability in proportion to its
    squared distance to the nearest row chosen, halved for each row that its group has already.

    Args:
        places: shape (rows, dimensions).
        groups: of each row.
        count: rows to choose at most.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    names = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)[1]
    lengths = (places**2).sum(axis=1)
    # Rows of equal length (all texts, where nothing else is known) have the same chance.
    longest = np.flatnonzero(lengths >= lengths.max(initial=0.0) * (1 - 1e-9))
    nearest = np.full(len(places), np.inf)
    share = np.ones(len(places))
    chosen: list[int] = []
    row = int(rng.choice(longest)) if len(places) else 0
    for number in range(min(count, len(places))):
        if number:
            weight = np.maximum(nearest, 1e-12) * share
            row = int(rng.choice(len(places), p=weight / weight.sum()))
        chosen.append(row)
        distance = lengths + lengths[row] - 2 * places @ places[row]
        nearest = np.minimum(nearest, np.maximum(distance, 0.0))
        share[names == names[row]] /= 2
        share[row] = 0.0
    return chosen
