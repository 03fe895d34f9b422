"""Where a sweep is: Optuna's study of its trials, and the folder of each trial's run.

A process may die at any moment. What it leaves is enough for the next one: the study holds the
trials that have been proposed and how they ended, each folder what its run needs to go on.
"""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from tasks.core import files
from tasks.core.errors import PerpetuneError
from tasks.core.locks import exclusive
from tasks.settings import Settings
from tasks.tune.sweep import halving, proposals
from tasks.tune.sweep.halving import Losses
from tasks.tune.sweep.results import State, SweepResult, Trial, trial_folder
from tasks.tune.sweep.run_state import read_run
from tasks.tune.train import finishing
from tasks.tune.train.trials import TrialRun

log = logging.getLogger(__name__)

_STATES: dict[TrialState, State] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


class SweepState:
    """The trials of a sweep, by number, as they are now; all that changes them is recorded here.

    Args:
        key: equal for sweeps that would give the same trials.
        study: this sweep's alone.
        out: the sweep's folder.
        settings: those of the sweep.
        began: when this process began with it (`time.perf_counter`).
    """

    def __init__(
        self, key: str, study: optuna.Study, out: Path, settings: Settings, began: float
    ) -> None:
        self.key, self.out, self.settings = key, out, settings
        self._study = study
        earlier: float = study.user_attrs.get("seconds", 0.0)
        self._began = began - earlier

    @property
    def seconds(self) -> float:
        """Seconds of this sweep, those of earlier processes included."""
        return time.perf_counter() - self._began

    @property
    def rungs(self) -> list[int]:
        """The evaluations after which trials are compared."""
        sweep, evaluations = self.settings.sweep, self.settings.tune.evaluations
        return halving.rungs(evaluations, sweep.reduction_factor) if sweep.prune else []

    def folder(self, number: int) -> Path:
        """The folder of a trial's run."""
        return trial_folder(self.out, number)

    def run(self, number: int) -> TrialRun:
        """The run of a trial."""
        tune = proposals.configuration(self._study.trials[number].params, self.settings)
        return TrialRun(self.folder(number), self.settings.replace(tune=tune))

    def trial(self, number: int) -> Trial:
        """A trial with its figures so far."""
        return self._trial(self._study.trials[number])

    def trials(self) -> list[Trial]:
        """All trials that have been proposed, in order."""
        return [self._trial(known) for known in self._study.trials]

    def next_cohort(self) -> list[int]:
        """The trials that run, or else the next ones, proposed together; none at the end."""
        sweep = self.settings.sweep
        known = self._study.trials
        running = [trial.number for trial in known if trial.state == TrialState.RUNNING]
        first = min(running, default=len(known)) // sweep.cohort * sweep.cohort
        end = min(proposals.count(self.settings), first + sweep.cohort)
        for number in range(len(known), end):
            # Of another sweep, or of a process that died before it had recorded the proposal.
            shutil.rmtree(self.folder(number), ignore_errors=True)
            self._study.add_trial(proposals.propose(self._study.trials, self.settings))
            running.append(number)
        return running

    def is_finished(self, number: int) -> bool:
        """Whether the trial's run has left its results."""
        return (self.folder(number) / "metrics.json").is_file()

    def record(self, number: int) -> bool:
        """Record the evaluations of a trial, and its end if it has come.

        Returns:
            Whether it has.
        """
        run = read_run(self.folder(number))
        known = self._study.trials[number]
        trial = optuna.Trial(self._study, known._trial_id)
        for evaluation, loss in enumerate(run.evaluations, start=1):
            if evaluation not in known.intermediate_values:
                trial.report(loss, evaluation)
        if not run.ended:
            return False
        try:
            result = run.result or finishing.finish(self.run(number))
        except finishing.Diverged as error:
            remedy = "lower the learning rates of sweep.space"
            log.warning("trial %d failed: %s; %s", number, error, remedy)
            trial.set_user_attr("reason", str(error))
            self._study.tell(number, state=TrialState.FAIL)
        else:
            if result.state == "pruned":
                self._study.tell(number, state=TrialState.PRUNED)
            else:
                self._study.tell(number, result.validation_loss)
        self._record_seconds()
        return True

    def prune(self, number: int) -> None:
        """End a trial at the rung that it has reached."""
        finishing.finish(self.run(number), "pruned")
        self._study.tell(number, state=TrialState.PRUNED)
        self._record_seconds()

    def losses_at(self, rung: int) -> tuple[dict[int, Losses], Losses | None]:
        """The summed loss of each validation example at a rung [E], of every trial that has reached
        it and has not failed; and the learned tokens of each example [E], if there is a trial."""
        losses, targets = {}, None
        for trial in self._study.trials:
            if rung in trial.intermediate_values and trial.state != TrialState.FAIL:
                every, targets = read_run(self.folder(trial.number)).example_losses()
                losses[trial.number] = every[rung - 1]
        return losses, targets

    def _record_seconds(self) -> None:
        self._study.set_user_attr("seconds", self.seconds)

    def _trial(self, known: FrozenTrial) -> Trial:
        run = read_run(self.folder(known.number))
        failed = known.state == TrialState.FAIL
        return Trial(
            number=known.number,
            params=proposals.shown_params(known.params, self.settings, run.peak_lr),
            state=_STATES[known.state],
            reason=known.user_attrs.get("reason"),
            rung=sum(rung in known.intermediate_values for rung in self.rungs),
            steps=len(run.curve),
            validation_loss=None if failed else run.best_loss,
            tokens=run.tokens,
            seconds=run.seconds,
            memory=run.memory,
        )


@contextmanager
def open_sweep(key: str, out: Path, settings: Settings, began: float) -> Iterator[SweepState]:
    """The state of the sweep of this key in `out`, for one process at a time.

    A sweep whose folders of finished trials are gone starts over.

    Raises:
        PerpetuneError: another process runs it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    state_dir = settings.project.model_dir.absolute()
    name = f"{settings.project.name}-{key}-{files.content_key(str(out.absolute()))}"
    busy = PerpetuneError(
        f"{out}: another process runs this sweep; wait for it, or give another folder"
    )
    with exclusive(state_dir / f"{name}.lock", busy):
        database = sqlalchemy.URL.create("sqlite", database=str(state_dir / "optuna.sqlite"))
        storage = optuna.storages.RDBStorage(database.render_as_string())
        study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
        if not all(_is_whole(trial, out) for trial in study.trials):
            log.warning("%s: folders of finished trials are gone; starting over", out)
            optuna.delete_study(study_name=name, storage=storage)
            study = optuna.create_study(storage=storage, study_name=name)
        yield SweepState(key, study, out, settings, began)


def _is_whole(trial: FrozenTrial, out: Path) -> bool:
    unfinished = trial.state in (TrialState.FAIL, TrialState.RUNNING)
    return unfinished or (trial_folder(out, trial.number) / "metrics.json").is_file()


def finished_sweep(key: str, out: Path) -> SweepResult | None:
    """The result in `out`, if it is that of the sweep of this key."""
    path = out / "sweep.json"
    if not path.is_file() or not (out / "best").is_dir():
        return None
    try:
        found = files.read_json(path)
        if not isinstance(found, dict) or found.get("key") != key:
            return None
        return SweepResult.from_json(found, str(path))
    except PerpetuneError:
        log.warning("%s is damaged, or of another version: written again", path)
        return None
