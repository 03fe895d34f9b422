"""The search over configurations: proposed by Optuna, trained in cohorts, halved at rungs.

A cohort is proposed at once and trained from rung to rung together; after each rung the weaker
trials end. `SweepState` holds the trials, so a process may die at any moment: the next one finds
the cohort, resumes each trial, and compares it with what it would have been compared with.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tasks.core import files
from tasks.model import base_source
from tasks.settings import Settings
from tasks.tune.data import examples as tuning_data
from tasks.tune.data.examples import Data
from tasks.tune.sweep import proposals
from tasks.tune.sweep.cohort import train_cohort
from tasks.tune.sweep.outcome import best_first, write_outcome
from tasks.tune.sweep.progress import TrialProgress
from tasks.tune.sweep.results import SweepResult, Trial, trial_folder
from tasks.tune.sweep.seeds import train_other_seeds
from tasks.tune.sweep.sentences import trial_sentence
from tasks.tune.sweep.state import SweepState, finished_sweep, open_sweep
from tasks.tune.train import checks
from tasks.tune.train.executors import process_executor, sequential_executor
from tasks.tune.train.local_executor import LocalExecutor
from tasks.tune.train.trials import Executor

log = logging.getLogger(__name__)

_FORMAT = 3  # of what trials leave; a change of it makes it 4

Workers = Callable[[Path], AbstractContextManager[Executor]]
"""Takes the data's folder and gives the executor that trains trials elsewhere."""


def search(
    data: Path,
    out: Path,
    settings: Settings,
    *,
    on_trial: Callable[[Trial, Path], None],
    on_progress: Callable[[list[Trial]], None],
    workers: Workers | None,
) -> SweepResult:
    """`tasks.tune.sweep.sweep`; its docstring is the contract."""
    key = _key(data, settings)
    done = finished_sweep(key, out)
    if done is not None:
        log.info("%s holds this sweep already", out)
        for trial in done.trials:
            on_trial(trial, trial_folder(out, trial.number))
        return done
    began = time.perf_counter()
    read = tuning_data.read(data, settings)
    warnings = checks.check(read, settings, proposals.configurations(settings))
    for warning in warnings:
        log.warning("%s", warning)
    seen = tuning_data.seen(read.train.groups, settings.tune, settings.project.seed)
    log.info("of a whole trial, %s", seen)
    with open_sweep(key, out, settings, began) as state:
        for trial in state.trials():
            if trial.state != "running":
                on_trial(trial, state.folder(trial.number))
        progress = TrialProgress(state, on_progress)
        with _executor(data, read, state, progress, workers) as execute:
            while cohort := state.next_cohort():
                for trial in train_cohort(state, cohort, execute, progress):
                    log.info("%s", trial_sentence(trial))
                    on_trial(trial, state.folder(trial.number))
            top = best_first(state)[: settings.sweep.reseed_top] if settings.sweep.seeds else []
            seeds = train_other_seeds(state, top, execute)
        return write_outcome(state, seeds, seen, warnings)


@contextmanager
def _executor(
    data: Path, read: Data, state: SweepState, progress: TrialProgress, workers: Workers | None
) -> Iterator[Executor]:
    """What trains: workers elsewhere, processes here, or this process."""
    settings = state.settings
    if workers is not None:
        with workers(data) as execute:
            yield execute
    elif settings.sweep.workers > 1:
        with process_executor(data, settings.sweep.workers, settings.tune.processes) as execute:
            yield execute
    elif settings.tune.processes > 1:
        yield sequential_executor(data)
    else:
        yield LocalExecutor(data, state.out / "lanes.json", progress.stepped, read=read)


def _key(data: Path, settings: Settings) -> str:
    """Equal keys mean that a sweep would give the same trials."""
    return files.content_key(
        _FORMAT,
        [files.md5(path) for path in tuning_data.split_files(data)],
        base_source.identity(settings),
        settings.base.plain(),
        proposals.fixed_settings(settings),
        settings.sweep.model_dump(
            mode="json",
            exclude={"adapters_per_pass", "workers", "engine", "trial_cpus", "trial_gpus"},
        ),
        settings.project.seed,
    )
