"""Adapt the base model to the curated records.

`plan` says what that would take, `train` fits one configuration, `sweep` searches rank × learning
rate and keeps the best. Both write plain folders that vanilla PEFT or transformers loads, chosen by
validation loss. No token is padding, logits are computed only where something is learned, and equal
input gives equal weights on one machine.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tasks.settings import Settings
from tasks.tune.selection import sentence as selection_sentence
from tasks.tune.spread import Advance, Assignment, Job, assignments, work

__all__ = [
    "Advance",
    "Assignment",
    "Job",
    "assignments",
    "plan",
    "selection_sentence",
    "sweep",
    "train",
    "work",
]


def plan(data: Path, settings: Settings) -> dict[str, Any]:
    """What each method would take here, and which one is advised, before anything is trained.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`.
        settings: `plan`, `tune`, `base` and the project's seed matter.

    Returns:
        `model`, `data`, `machine`; `methods`, for each its trained parameters, predicted memory
        with its arithmetic, whether it fits, seconds and cost; `advice` with its reasons.

    Raises:
        BadInput: as `train`.
    """
    from tasks.tune import planning

    return planning.plan(data, settings)


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
    from tasks.tune import training

    return training.train(data, out, settings)


def sweep(
    data: Path,
    out: Path,
    settings: Settings,
    *,
    on_trial: Callable[[dict[str, Any], Path], None] = lambda *_: None,
    on_progress: Callable[[list[dict[str, Any]]], None] = lambda _: None,
    workers: Callable[[Path], AbstractContextManager[Advance]] | None = None,
) -> dict[str, Any]:
    """Search the configurations in `settings.sweep`; what they do not vary comes from `tune`.

    Writes into `out`: `trials/N/`, what `train` writes of each trial; `best/`, a copy of the
    weights that won among the completed trials; `curves.png` and `heatmap.png`; and, last of all,
    `sweep.json`. Killed and run again, it repeats no finished trial, takes unfinished ones on from
    their checkpoints, and proposes the configurations that the unbroken sweep would have proposed.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`.
        out: folder of this sweep alone.
        settings: `sweep`, `tune`, `base` and `project` matter.
        on_trial: called with each trial and its folder when it ends; after a restart once more
            for those that ended before.
        on_progress: called with all trials as they stand, after every step where they are trained
            in this process, else after every rung.
        workers: given the data's folder, where trials are trained instead of here
            (`tasks.tune.spread` says what workers do).

    Returns:
        What stands in `sweep.json`: `trials` (of one that failed, the `reason`), `best`,
        `worse_than_base`, `selection` (by how much choosing the best flatters it, or why that
        cannot be said), `data` and `warnings` as in `train`, `seeds` (spread of the best ones over
        other seeds, where asked for), `seconds` (including those before a restart),
        `tokens_trained`, `tokens_per_second`.

    Raises:
        BadInput: as `train`.
        PerpetuneError: another process runs this sweep, or no trial came to its end.
    """
    from tasks.tune import search

    return search.run(
        data, out, settings, on_trial=on_trial, on_progress=on_progress, workers=workers
    )
