"""What choosing the best of several trials does to its validation loss: it flatters.

The winner of N is partly the one that the validation examples happened to favour, so its loss on
them is too low an estimate of its loss on others.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np


def expected_optimism(
    losses: Mapping[int, "np.ndarray"],
    targets: "np.ndarray",
    *,
    seed: int,
    resamples: int = 2000,
) -> dict[str, Any] | None:
    """By how much the best of these trials looks better than it is, by a bootstrap of examples.

    In each resample the winner is chosen anew, and its loss on the examples that the resample left
    out is held against its loss on those within (Tsamardinos et al. 2018, bootstrap bias corrected
    cross-validation, https://doi.org/10.1007/s10994-018-5714-4).

    Args:
        losses: number of each trial → summed loss of each validation example [E], in one order; of
            trials that were stopped early, those at their end.
        targets: learned tokens of each example [E].
        seed: of the resamples.
        resamples: how many.

    Returns:
        `optimism` in nats a token, `corrected_loss` of the winner, `trials` and `examples`; nothing
        where there is no choice or there are fewer than ten examples.
    """
    table, count = np.array([*losses.values()], dtype=float), len(targets)
    if len(table) < 2 or count < 10:
        return None
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    times = np.zeros((resamples, count))
    np.add.at(times, (np.arange(resamples)[:, None], drawn), 1)
    left_out = (times == 0).astype(float)
    within = times @ table.T / (times @ targets)[:, None]
    without = left_out @ table.T / (left_out @ targets)[:, None]
    winners = within.argmin(axis=1)
    rows = np.arange(resamples)
    # Of a single trial the two agree on average; what remains is the choice's.
    optimism = float(np.mean(without[rows, winners] - within[rows, winners]))
    best = float((table.sum(axis=1) / targets.sum()).min())
    return {
        "optimism": optimism,
        "corrected_loss": best + optimism,
        "trials": len(table),
        "examples": count,
    }
