"""Fit one configuration: its training loop, checkpoints, and where trials are trained."""

from pathlib import Path
from typing import Any

from tasks.settings import Settings
from tasks.tune.train.executors import Advance, Assignment, Job, assignments, work

__all__ = ["Advance", "Assignment", "Job", "assignments", "train", "work"]


def train(
    data: Path,
    out: Path,
    settings: Settings,
) -> dict[str, Any]:
    """Train the configuration in `settings.tune`.

    Writes into `out`: `best/`, the weights with the lowest validation loss (a PEFT adapter, or
    the whole model where the method trains its own weights); `curve.jsonl`, a line for each
    optimiser step; and, last of all, `metrics.json`, so that its existence means that the run is
    whole. Killed and run again, it goes on from its last checkpoint; run again after its end, it
    starts over.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`, as `curate` writes them.
        out: folder of this run alone.
        settings: `tune`, `base` and the project's seed matter.

    Returns:
        What stands in `metrics.json`: losses are nats per learned token, `tokens_per_second`
        counts trained tokens over all of `seconds`, evaluations included. `examples_seen` of
        `train_examples` are what the configured steps see; `data` counts what `tune.max_length`
        cut or left out; `worse_than_base` says that no evaluation was better than the base's;
        `warnings` are sentences.

    Raises:
        BadInput: a file of `data` is missing, empty or damaged, or holds nothing to learn, or a
            setting cannot work with this base or these data.
        PerpetuneError: the loss left the finite numbers, the base's own among them.
    """
    from tasks.tune.train import training

    return training.train(data, out, settings)
