"""Successive halving: which trials go on past a rung (Jamieson & Talwalkar 2016).

Asynchronous, as in Li et al. 2018 (https://arxiv.org/abs/1810.05934): a trial is compared with all
that have reached its rung so far, in its own cohort and in earlier ones; none waits for later ones.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Losses = NDArray[np.float64]


def rungs(evaluations: int, factor: int) -> list[int]:
    """The evaluations (from 1) at which trials are compared: 1, `factor`, its square and so on, all
    before the last evaluation."""
    reached = []
    rung = 1
    while rung < evaluations:
        reached.append(rung)
        rung *= factor
    return reached


def promoted(
    candidates: Mapping[int, Losses], earlier: Sequence[Losses], targets: Losses, factor: int
) -> set[int]:
    """The trials that go on past a rung: the best 1/`factor` of all, at least one, and each that is
    not clearly worse than the last of these.

    A trial is clearly worse where the difference of the losses is more than its standard error. All
    are measured on the same examples, so this is the paired error, which is much smaller than that
    of either loss.

    Args:
        candidates: number of each trial at the rung → its summed loss there on each validation
            example [E].
        earlier: the same losses of trials that passed or ended at this rung before.
        targets: learned tokens of each example [E].
        factor: one of so many goes on.

    Returns:
        Their numbers, of those of `candidates`.
    """
    ordered = sorted([*candidates.values(), *earlier], key=lambda losses: float(losses.sum()))
    last = ordered[max(1, len(ordered) // factor) - 1]
    return {
        number
        for number, losses in candidates.items()
        if (losses - last).sum() <= standard_error(losses - last, targets) * targets.sum()
    }


def standard_error(losses: Losses, targets: Losses) -> float:
    """The standard error of Σ losses / Σ targets over draws of examples, in nats a token.

    The ratio is linearised (Cochran 1977, section 6.3). A single example, which tells nothing about
    others, gives 0.
    """
    count = len(targets)
    if count < 2:
        return 0.0
    residuals = losses - losses.sum() / targets.sum() * targets
    return float(np.sqrt(count / (count - 1) * (residuals**2).sum()) / targets.sum())
