"""The best configurations trained again from other seeds: how far their losses spread."""

import contextlib
import statistics
from collections.abc import Sequence

from tasks.tune.sweep.results import SeedSpread, Trial
from tasks.tune.sweep.run_state import read_run
from tasks.tune.sweep.state import SweepState
from tasks.tune.train.finishing import Diverged, finish
from tasks.tune.train.trials import Executor, TrialRun


def train_other_seeds(
    state: SweepState, best: Sequence[Trial], execute: Executor
) -> tuple[SeedSpread, ...]:
    """Train each of these trials' configurations from `sweep.seeds` other seeds.

    Args:
        state: of the sweep.
        best: complete trials, the best first.
        execute: trains the runs.
    """
    runs = {trial.number: _runs(state, trial) for trial in best}
    missing = [run for own in runs.values() for run in own if not read_run(run.out).result]
    if missing:
        execute(missing, None)
    for run in missing:
        with contextlib.suppress(Diverged):
            finish(run)
    return tuple(_spread(trial, runs[trial.number]) for trial in best if runs[trial.number])


def _runs(state: SweepState, trial: Trial) -> list[TrialRun]:
    """The runs of a trial's configuration from other seeds."""
    run, project = state.run(trial.number), state.settings.project
    return [
        TrialRun(
            state.out / "seeds" / state.key / f"{trial.number}-{seed}",
            run.settings.replace(project=project.replace(seed=seed)),
        )
        for seed in range(project.seed + 1, project.seed + 1 + state.settings.sweep.seeds)
    ]


def _spread(trial: Trial, runs: Sequence[TrialRun]) -> SeedSpread:
    losses = [trial.validation_loss]
    for run in runs:
        result = read_run(run.out).result
        losses.append(result.validation_loss if result else None)
    finite = [loss for loss in losses if loss is not None]
    return SeedSpread(
        number=trial.number,
        validation_losses=tuple(losses),
        mean=statistics.mean(finite),
        standard_deviation=statistics.stdev(finite) if len(finite) > 1 else None,
    )
