"""The rows that may be chosen, and what strategies know of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """Unlabelled rows of traffic, no two of one text, in an order that chance does not depend on.

    Attributes:
        groups: what each row belongs to; a row without a group is a group of its own.
        vectors: place of each row among texts, shape (rows, dimensions), of length 1 (or 0).
        novelty: distance to what the champion was trained on, shape (rows,), from 0; None: nothing
            is known of that.
        probabilities: of each label, shape (rows, labels); None: answers are no labels.
        losses: mean loss of the champion's own answer in nats a token, shape (rows,); NaN where it
            was not asked; None: there is no champion, or answers are labels.
    """

    groups: tuple[str, ...]
    vectors: Floats
    novelty: Floats | None = None
    probabilities: Floats | None = None
    losses: Floats | None = None

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def uncertainty(self) -> Floats | None:
        """How unsure the model is of each row, from the least to the most; None: not known.

        Where answers are labels, one minus the margin between the two likeliest (Scheffer et al.
        2001, "Active hidden Markov models for information extraction"); else the mean loss of the
        champion's own answer, NaN where it was not asked.
        """
        if self.probabilities is not None:
            best = np.sort(self.probabilities, axis=1)
            return np.asarray(1 - (best[:, -1] - best[:, -2]))
        return self.losses


def ranks(values: Floats) -> Floats:
    """Ranks from above 0 to 1, equal values alike; 0.5 where a value is NaN."""
    from scipy.stats import rankdata

    found = np.full(len(values), 0.5)
    known = ~np.isnan(values)
    if known.any():
        found[known] = rankdata(values[known]) / known.sum()
    return found


def spread(scores: Floats, groups: Sequence[str], count: int) -> list[int]:
    """The rows of the highest scores, each halved for every row that its group has already.

    Rows of one group teach much the same: the second of it has to be worth twice as much.

    Args:
        scores: shape (rows,), not negative; of equal ones the first row goes first.
        groups: of each row.
        count: rows to choose at most.
    """
    left = np.array(scores, dtype=np.float64)
    names = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)[1]
    chosen: list[int] = []
    for _ in range(min(count, len(left))):
        best = int(left.argmax())
        chosen.append(best)
        left[names == names[best]] /= 2
        left[best] = -1.0
    return chosen
