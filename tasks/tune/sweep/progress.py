"""The progress of a sweep, for people who watch."""

import math
from collections.abc import Callable
from pathlib import Path

from tasks.tune.sweep.results import Trial
from tasks.tune.sweep.state import SweepState
from tasks.tune.train.run import Run
from tasks.tune.train.trials import TrialRun


class TrialProgress:
    """Shows all trials of a sweep while they are trained.

    Args:
        state: of the sweep.
        on_progress: called with all trials after each change.
    """

    def __init__(self, state: SweepState, on_progress: Callable[[list[Trial]], None]) -> None:
        self._state, self._on_progress = state, on_progress
        self._trials: dict[Path, Trial] = {}

    def show(self) -> None:
        """Show all trials as the state of the sweep has them."""
        trials = self._state.trials()
        self._trials = {self._state.folder(trial.number): trial for trial in trials}
        self._on_progress(trials)

    def stepped(self, trial_run: TrialRun, run: Run) -> None:
        """Show that a run of this process has taken a step."""
        if trial_run.out not in self._trials:
            self.show()
        trial = self._trials.get(trial_run.out)
        if trial is None:
            return  # a run from another seed belongs to no trial
        changes = {
            "rung": sum(rung <= len(run.evaluations) for rung in self._state.rungs),
            "steps": run.step,
            "validation_loss": run.best_loss if math.isfinite(run.best_loss) else None,
            "seconds": run.seconds,
            "learning_rate": run.curve[-1]["learning_rate"],
            "seconds_left": run.seconds / run.step * (run.steps - run.step),
        }
        self._trials[trial_run.out] = trial.model_copy(update=changes)
        self._on_progress([*self._trials.values()])
