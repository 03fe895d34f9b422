"""Adapt the base model to the curated records.

`train` fits one configuration, `sweep` searches rank × learning rate and keeps the best; both write
plain PEFT adapter folders, chosen by validation loss. No token is padding, logits are computed only
where something is learned, and equal input gives equal weights on one machine.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.settings import Settings

__all__ = ["sweep", "train"]


def train(
    data: Path,
    out: Path,
    settings: Settings,
    *,
    report: Callable[[int, float], bool] | None = None,
) -> dict[str, Any]:
    """Train the configuration in `settings.tune`.

    Writes into `out`: `best/`, the PEFT adapter with the lowest validation loss; `curve.jsonl`, a
    line for each optimiser step; and, last of all, `metrics.json`, so that its existence means
    that the run is whole. Run again, it starts over.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`, as `curate` writes them.
        out: folder of this run alone.
        settings: `tune`, `base` and the project's seed matter.
        report: called with the step and the validation loss at each evaluation; true stops the
            run there (state `pruned`).

    Returns:
        What stands in `metrics.json`: losses are nats per learned token, `tokens_per_second`
        counts trained tokens over all of `seconds`, evaluations included.

    Raises:
        BadInput: a file of `data` is missing, empty or damaged, or holds nothing to learn.
        PerpetuneError: the loss left the finite numbers.
    """
    from tasks.tune import training

    return training.run(training.prepare(data, settings), out, settings, report=report)


def sweep(
    data: Path,
    out: Path,
    settings: Settings,
    *,
    on_trial: Callable[[dict[str, Any], Path], None] | None = None,
) -> dict[str, Any]:
    """Search the configurations in `settings.sweep`; what they do not vary comes from `tune`.

    Writes into `out`: `trials/N/`, what `train` writes of each trial; `best/`, a copy of the
    adapter that won among the completed trials; `curves.png` and `heatmap.png`; and, last of all,
    `sweep.json`. Killed and run again, it goes on after the last finished trial and proposes the
    configurations that the unbroken sweep would have proposed.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`.
        out: folder of this sweep alone.
        settings: `sweep`, `tune`, `base` and `project` matter.
        on_trial: called with each finished trial and its folder, in the order of their numbers;
            after a restart once more for those finished before.

    Returns:
        What stands in `sweep.json`: `trials`, `best`, `seconds` (including those before a
        restart), `tokens_trained`, `tokens_per_second`.

    Raises:
        BadInput: as `train`.
        PerpetuneError: another process runs this sweep, or no trial came to its end.
    """
    from tasks.tune import search

    return search.run(data, out, settings, on_trial=on_trial)
