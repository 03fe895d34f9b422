"""What choosing the best of several trials does to its validation loss: it flatters.

The winner of N is partly the one that the validation examples happened to favour, so its loss on
them is too low an estimate of its loss on others. So is the best evaluation of each trial.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tasks.tune.sweep.halving import Losses, standard_error

FEWEST = 10
"""Validation examples below which resamples of them say nothing."""
_RESAMPLES = 20_000
_AT_ONCE = 1 << 22
# Where trials are equal, the estimate is two thirds of the truth: benchmarks/tuning/selection.py.
_LOW = 1.5


@dataclass(frozen=True, slots=True)
class Selection:
    """How sure the winner's validation loss is; what cannot be said is none, with the `reason`."""

    trials: int
    choices: int
    """Evaluations of all trials, of which the lowest was chosen."""
    examples: int
    optimism: float | None
    """By how much the winner looks better than it is, in nats a token."""
    corrected_loss: float | None
    standard_error: float | None
    """Of the winner's loss, over draws of as many examples."""
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """As `sweep.json` holds it."""
        return asdict(self)


def assess(losses: Mapping[int, Losses], targets: Losses, best: int, *, seed: int) -> Selection:
    """How far the loss of the best trial can be trusted.

    In each resample of the examples the winner among all trials' evaluations is chosen anew. How
    much better it looks within the resample than on all examples, both against the mean of all
    evaluations, is the choice's optimism (Efron & Tibshirani 1993, section 17.3; against the mean,
    because which examples a resample draws moves all trials alike).

    Args:
        losses: number of each trial → summed loss of each validation example at each of its
            evaluations [evaluations, E], examples in one order.
        targets: learned tokens of each example [E].
        best: number of the winner.
        seed: of the resamples.
    """
    table, count = np.concatenate([*losses.values()]), len(targets)
    winner = min(losses[best], key=lambda each: float(each.sum()))
    loss = float(winner.sum() / targets.sum())
    optimism, reason = None, None
    if len(table) < 2:
        reason = "there was nothing to choose from"
    elif count < FEWEST:
        reason = f"{count} validation examples are too few to say it of; {FEWEST} are needed"
    else:
        optimism = max(0.0, _optimism(table, targets, seed))
    return Selection(
        trials=len(losses),
        choices=len(table),
        examples=count,
        optimism=optimism,
        corrected_loss=None if optimism is None else loss + optimism,
        standard_error=standard_error(winner, targets) if count > 1 else None,
        reason=reason,
    )


def _optimism(table: Losses, targets: Losses, seed: int) -> float:
    count = len(targets)
    draw = np.random.default_rng(seed)
    # The difference is linear in the losses: their common part takes nothing from its precision.
    whole = table.sum(axis=1) / targets.sum()
    whole -= whole.mean()
    gained, left = 0.0, _RESAMPLES
    while left:
        rows = min(left, max(1, _AT_ONCE // max(table.shape)))
        times = draw.multinomial(count, np.full(count, 1 / count), rows).astype(float)
        within = times @ table.T / (times @ targets)[:, None]
        winners = within.argmin(axis=1)
        looks = within[np.arange(rows), winners] - within.mean(axis=1)
        gained += float((whole[winners] - looks).sum())
        left -= rows
    return gained / _RESAMPLES


def sentence(selection: Mapping[str, Any], loss: float) -> str:
    """What `Selection.to_json` means for the winner's validation loss, to no more digits than it
    has."""
    examples = selection["examples"]
    chosen = (
        f"Its validation loss of {loss:.3f} on {examples} example{'s' * (examples != 1)} is the "
        f"lowest of {selection['choices']} evaluations in {selection['trials']} trials"
    )
    optimism, error = selection["optimism"], selection["standard_error"]
    if optimism is None:
        chosen += f"; how much too low that makes it cannot be said: {selection['reason']}."
    else:
        much = "less than 0.01" if _LOW * optimism < 0.01 else f"about {optimism:.2f}"
        chosen += f", which makes it {much} too low."
    if error is None:
        return f"{chosen} One example does not tell how it is on others."
    expected = loss if selection["corrected_loss"] is None else selection["corrected_loss"]
    digits = 3 if error < 0.005 else 2
    return (
        f"{chosen} On other examples of this kind expect {expected:.{digits}f} ± "
        f"{error:.{digits}f} (one standard deviation of a loss on {examples} examples)."
    )
