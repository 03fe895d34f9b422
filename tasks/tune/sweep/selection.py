"""Selection bias: the best of several trials has too low a validation loss.

The best of N is partly the one that the validation examples happened to favour, so its loss on them
is too low an estimate of its loss on others. So is the best evaluation of each trial.
"""

from collections.abc import Mapping

import numpy as np

from tasks.tune.sweep.halving import Losses, standard_error
from tasks.tune.sweep.results import Selection

MIN_EXAMPLES = 10
"""Validation examples below which resamples of them say nothing."""
_RESAMPLES = 20_000
_CELLS_PER_CHUNK = 1 << 22


def assess(losses: Mapping[int, Losses], targets: Losses, best: int, *, seed: int) -> Selection:
    """How far the loss of the best trial can be trusted.

    In each resample of the examples the best of all trials' evaluations is chosen again. How much
    better it is within the resample than on all examples, both compared with the mean of all
    evaluations, is the optimism of the choice (Efron & Tibshirani 1993, section 17.3; compared with
    the mean, because a resample that draws hard examples raises all losses alike).

    Args:
        losses: number of each trial → summed loss of each validation example at each of its
            evaluations [evaluations, E], examples in one order.
        targets: learned tokens of each example [E].
        best: number of the best trial.
        seed: of the resamples.
    """
    table, count = np.concatenate([*losses.values()]), len(targets)
    chosen = min(losses[best], key=lambda evaluation: float(evaluation.sum()))
    loss = float(chosen.sum() / targets.sum())
    optimism, reason = None, None
    if len(table) < 2:
        reason = "there was nothing to choose from"
    elif count < MIN_EXAMPLES:
        reason = f"{count} validation examples are too few to say it; {MIN_EXAMPLES} are needed"
    else:
        optimism = max(0.0, _optimism(table, targets, seed))
    return Selection(
        trials=len(losses),
        choices=len(table),
        examples=count,
        optimism=optimism,
        corrected_loss=None if optimism is None else loss + optimism,
        standard_error=standard_error(chosen, targets) if count > 1 else None,
        reason=reason,
    )


def _optimism(table: Losses, targets: Losses, seed: int) -> float:
    count = len(targets)
    generator = np.random.default_rng(seed)
    # Only differences from the mean count: what all losses share costs no precision.
    on_all = table.sum(axis=1) / targets.sum()
    on_all -= on_all.mean()
    total, left = 0.0, _RESAMPLES
    while left:
        rows = min(left, max(1, _CELLS_PER_CHUNK // max(table.shape)))
        times = generator.multinomial(count, np.full(count, 1 / count), rows).astype(float)
        within = times @ table.T / (times @ targets)[:, None]
        chosen = within.argmin(axis=1)
        within_chosen = within[np.arange(rows), chosen] - within.mean(axis=1)
        total += float((on_all[chosen] - within_chosen).sum())
        left -= rows
    return total / _RESAMPLES
