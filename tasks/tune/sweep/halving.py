"""Successive halving: which trials go on past a rung (Jamieson & Talwalkar 2016).

Asynchronous, as in Li et al. 2018 (https://arxiv.org/abs/1810.05934): a trial is held against all
that have reached its rung so far, in its own cohort and in those before; none waits for later ones.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Losses = NDArray[np.float64]


def rungs(evaluations: int, factor: int) -> list[int]:
    """The evaluations (from 1) at which trials are held against each other: 1, `factor`, its square
    and so on, all before the last evaluation."""
    found = []
    rung = 1
    while rung < evaluations:
        found.append(rung)
        rung *= factor
    return found


def promoted(
    candidates: Mapping[int, Losses], earlier: Sequence[Losses], targets: Losses, factor: int
) -> set[int]:
    """Who goes on past a rung: the best one of `factor`, at least one of all, and whoever cannot be
    told from the last of these.

    Two trials cannot be told apart where their losses differ by no more than one standard error of
    the difference. Both are measured on the same examples, so that it is the paired one, which is
    much smaller than that of either loss.

    Args:
        candidates: number of each trial that stands at the rung → its summed loss there on each
            validation example [E].
        earlier: the same of trials that passed or ended at this rung before.
        targets: learned tokens of each example [E].
        factor: one of so many goes on.
    """
    ordered = sorted([*candidates.values(), *earlier], key=lambda losses: float(losses.sum()))
    last = ordered[max(1, len(ordered) // factor) - 1]
    return {
        number
        for number, losses in candidates.items()
        if (losses - last).sum() <= standard_error(losses - last, targets) * targets.sum()
    }


def standard_error(losses: Losses, targets: Losses) -> float:
    """Of Σ losses / Σ targets over draws of examples, linearised (Cochran 1977, section 6.3).

    It is 0 for a single example, of which nothing is known.
    """
    count = len(targets)
    if count < 2:
        return 0.0
    rest = losses - losses.sum() / targets.sum() * targets
    return float(np.sqrt(count / (count - 1) * (rest**2).sum()) / targets.sum())
