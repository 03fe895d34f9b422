"""Search the configurations of `sweep`: proposals, rungs, the choice of the best."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tasks.settings import Settings
from tasks.tune.sweep.results import (
    BestTrial,
    SeedSpread,
    Selection,
    SweepResult,
    Trial,
    trial_folder,
)
from tasks.tune.sweep.sentences import selection_sentence
from tasks.tune.train import Executor

__all__ = [
    "BestTrial",
    "SeedSpread",
    "Selection",
    "SweepResult",
    "Trial",
    "selection_sentence",
    "sweep",
    "trial_folder",
]


def sweep(
    data: Path,
    out: Path,
    settings: Settings,
    *,
    on_trial: Callable[[Trial, Path], None] = lambda *_: None,
    on_progress: Callable[[list[Trial]], None] = lambda _: None,
    workers: Callable[[Path], AbstractContextManager[Executor]] | None = None,
) -> SweepResult:
    """Search the configurations in `settings.sweep`; what they do not vary comes from `tune`.

    Writes into `out`: `trials/N/`, what `train` writes of each trial; `best/`, a copy of the best
    completed trial's weights; `curves.png` and `heatmap.png`; and, last of all, `sweep.json`, which
    is the result. Killed and run again, it repeats no finished trial, resumes unfinished ones from
    their checkpoints, and proposes the configurations that it would have proposed without a break.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`.
        out: folder of this sweep alone.
        settings: `sweep`, `tune`, `base` and `project` matter.
        on_trial: called with each trial and its folder when it ends; after a restart again for
            those that ended before.
        on_progress: called with all trials: after every step where they are trained in this
            process, else after every rung.
        workers: takes the data's folder and gives the executor that trains the trials instead of
            this process.

    Raises:
        BadInput: as `train`.
        PerpetuneError: another process runs this sweep, or no trial came to its end.
    """
    # Imported here: `perpetune --help` imports this module, and torch takes seconds.
    from tasks.tune.sweep.search import search

    return search(data, out, settings, on_trial=on_trial, on_progress=on_progress, workers=workers)
