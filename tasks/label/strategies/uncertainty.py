"""Rows of which the model is unsure."""

import numpy as np

from tasks.core.errors import BadInput
from tasks.label.pool import Pool, ranks, spread
from tasks.label.strategies import STRATEGIES


@STRATEGIES.register
class Uncertainty:
    """The rows of which the model is least sure, groups in turn; those not asked come last."""

    name = "uncertainty"
    meaning = (
        "Rows of which the model is unsure: the smallest margin between the two likeliest labels "
        "(Scheffer et al. 2001) or, for free answers, the highest loss of the model's own answer."
    )

    def choose(self, pool: Pool, count: int, seed: int) -> list[int]:  # noqa: ARG002
        """As `Strategy.choose`."""
        unsure = pool.uncertainty
        if unsure is None or np.isnan(unsure).all():
            raise BadInput(
                "label.strategy: uncertainty asks the champion, and there is none (or "
                "label.asked_rows is 0): approve a first version, or set label.strategy=diversity"
            )
        scores = np.where(np.isnan(unsure), 0.0, ranks(unsure))
        return spread(scores, pool.groups, count)

    def reason(self, pool: Pool, row: int) -> str:
        """As `Strategy.reason`."""
        return sure(pool, row) or "the model was not asked"


def sure(pool: Pool, row: int) -> str:
    """How sure the model is of the row, in words; empty where that is not known."""
    if pool.probabilities is not None:
        best = np.sort(pool.probabilities[row])
        return f"the two likeliest labels are at {best[-1]:.0%} and {best[-2]:.0%}"
    if pool.losses is not None and not np.isnan(pool.losses[row]):
        return f"the model's own answer has a loss of {pool.losses[row]:.2f} nats a token"
    return ""
