"""What is trained, and by whom: runs, the tasks of workers, and executors that carry them out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from tasks.core import files
from tasks.core.plugins import load_plugins
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


_TASK = TypeAdapter(TrialTask)


def write_task(task: TrialTask, path: Path) -> None:
    """Write a task for another process to read."""
    path.write_bytes(_TASK.dump_json(task))


def read_task(path: Path) -> TrialTask:
    """What `write_task` wrote; the plugins that its settings name are loaded first.

    Raises:
        BadInput: one of them cannot be loaded here.
    """
    values = files.read_json(path)
    load_plugins(values["settings"]["project"]["plugins"])
    return _TASK.validate_python(values)


def trial_tasks(data: Path, runs: Sequence[TrialRun], evaluations: int | None) -> list[TrialTask]:
    """One for each run, with absolute paths: a worker may have another working directory."""
    return [
        TrialTask(data.absolute(), run.out.absolute(), _absolute(run.settings), evaluations)
        for run in runs
    ]


def _absolute(settings: Settings) -> Settings:
    state = settings.project.state_dir.absolute()
    return settings.replace(project=settings.project.replace(state_dir=state))
