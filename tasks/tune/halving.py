"""Successive halving: which trials go on past a rung (Jamieson & Talwalkar 2016).

Asynchronous, as in Li et al. 2018 (https://arxiv.org/abs/1810.05934): a trial is held against all
that have reached its rung so far, in its own cohort and in those before; none waits for later ones.
"""

from collections.abc import Mapping, Sequence


def rungs(evaluations: int, factor: int) -> list[int]:
    """The evaluations (from 1) at which trials are held against each other: 1, `factor`, its square
    and so on, all before the last evaluation."""
    found = []
    rung = 1
    while rung < evaluations:
        found.append(rung)
        rung *= factor
    return found


def promoted(candidates: Mapping[int, float], earlier: Sequence[float], factor: int) -> set[int]:
    """Who goes on past a rung: the best one of `factor`, at least one of all; equals go together.

    Args:
        candidates: number of each trial that stands at the rung → its loss there.
        earlier: losses there of trials that passed or ended at this rung before.
        factor: one of so many goes on.
    """
    losses = sorted([*candidates.values(), *earlier])
    places = max(1, len(losses) // factor)
    return {number for number, loss in candidates.items() if loss <= losses[places - 1]}
