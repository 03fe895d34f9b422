"""What is trained, and by whom: runs, the tasks of workers, and executors that carry them out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from tasks.settings import Settings


@dataclass(frozen=True, slots=True)
class TrialRun:
    """A configuration and the folder of its run."""

    out: Path
    settings: Settings


Executor = Callable[[Sequence[TrialRun], int | None], None]
"""Trains runs to an evaluation (counted from 1), or to their end; returns when all are there."""


@dataclass(frozen=True, slots=True)
class TrialTask:
    """What a worker is given: one run, and the evaluation to train it to (None: its end)."""

    data: Path
    out: Path
    settings: Settings
    evaluations: int | None

    @property
    def name(self) -> str:
        """For people who watch."""
        rung = "to its end" if self.evaluations is None else f"to evaluation {self.evaluations}"
        return f"trial {self.out.name} {rung}"


TASK_JSON = TypeAdapter(TrialTask)
"""Tasks as JSON, for other processes."""


def trial_tasks(data: Path, runs: Sequence[TrialRun], evaluations: int | None) -> list[TrialTask]:
    """One for each run, with absolute paths: a worker may have another working directory."""
    return [
        TrialTask(data.absolute(), run.out.absolute(), _absolute(run.settings), evaluations)
        for run in runs
    ]


def _absolute(settings: Settings) -> Settings:
    state = settings.project.state_dir.absolute()
    return settings.replace(project=settings.project.replace(state_dir=state))
