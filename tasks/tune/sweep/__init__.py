"""Search the configurations of `sweep`: proposals, rungs, the choice of the best."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tasks.settings import Settings
from tasks.tune.sweep.selection import sentence as selection_sentence
from tasks.tune.train import Executor

__all__ = ["selection_sentence", "sweep"]


def sweep(
    data: Path,
    out: Path,
    settings: Settings,
    *,
    on_trial: Callable[[dict[str, Any], Path], None] = lambda *_: None,
    on_progress: Callable[[list[dict[str, Any]]], None] = lambda _: None,
    workers: Callable[[Path], AbstractContextManager[Executor]] | None = None,
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
            (`tasks.tune.train.executors` says what workers do).

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
    from tasks.tune.sweep import search

    return search.run(
        data, out, settings, on_trial=on_trial, on_progress=on_progress, workers=workers
    )
