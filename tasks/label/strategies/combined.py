"""New, doubtful rows that differ from each other."""

import numpy as np

from tasks.label.pool import Floats, Pool, ranks
from tasks.label.strategies import STRATEGIES
from tasks.label.strategies.diversity import far_apart
from tasks.label.strategies.uncertainty import sure


@STRATEGIES.register
class Combined:
    """k-means++ over vectors that are the longer, the newer a row is and the less sure the model.

    Where answers are labels, the vector of a row is the gradient of the loss of the likeliest label
    at the last layer of a linear model, as in BADGE (Ash et al. 2020, "Deep batch active learning
    by diverse, uncertain gradient lower bounds"). Else it is the row's place among texts, times the
    rank of its uncertainty. Both are multiplied by the rank of its novelty.
    """

    name = "combined"
    meaning = (
        "New and doubtful rows that differ from each other: k-means++ over vectors whose length "
        "is novelty × uncertainty (after BADGE, Ash et al. 2020)."
    )

    def choose(self, pool: Pool, count: int, seed: int) -> list[int]:
        """As `Strategy.choose`."""
        return far_apart(_places(pool), pool.groups, count, seed)

    def reason(self, pool: Pool, row: int) -> str:
        """As `Strategy.reason`."""
        parts = [sure(pool, row)]
        if pool.novelty is not None:
            share = ranks(pool.novelty)[row] - 1 / len(pool)
            parts.append(f"further from the training data than {share:.0%} of the rows")
        return "; ".join(part for part in parts if part) or "unlike the other rows chosen"


def _places(pool: Pool) -> Floats:
    places = pool.vectors
    if pool.probabilities is not None:
        slope = pool.probabilities.copy()
        slope[np.arange(len(pool)), slope.argmax(axis=1)] -= 1
        places = (slope[:, :, None] * places[:, None, :]).reshape(len(pool), -1)
    elif pool.losses is not None:
        places = places * ranks(pool.losses)[:, None]
    if pool.novelty is not None:
        places = places * ranks(pool.novelty)[:, None]
    return np.asarray(places)
