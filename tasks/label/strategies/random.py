"""Rows drawn at random."""

import numpy as np

from tasks.label.pool import Pool
from tasks.label.strategies import STRATEGIES

REASON = "drawn at random, to measure what choosing gains"


@STRATEGIES.register
class Random:
    """Every row has the same chance."""

    name = "random"
    meaning = "Every row has the same chance: the measure of all others."

    def choose(self, pool: Pool, count: int, seed: int) -> list[int]:
        """As `Strategy.choose`."""
        order = np.random.default_rng(seed).permutation(len(pool))
        return [int(row) for row in order[:count]]

    def reason(self, pool: Pool, row: int) -> str:  # noqa: ARG002
        """As `Strategy.reason`."""
        return REASON
