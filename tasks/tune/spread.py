"""Trials trained by several processes, each with a base model of its own.

What a process needs and what it leaves lies in files, so the same function serves processes on this
machine and tasks on a cluster whose machines share those folders.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.settings import Settings

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from tasks.tune.cohort import Trainer


@dataclass(frozen=True, slots=True)
class Job:
    """A configuration and the folder of its run."""

    out: Path
    settings: Settings


Advance = Callable[[Sequence[Job], int | None], None]
"""Takes jobs to an evaluation (from 1) or to their end, wherever; returns when all are there."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one worker does at a time: take a trial to an evaluation, or to its end."""

    data: Path
    out: Path
    settings: Settings
    evaluations: int | None

    @property
    def name(self) -> str:
        """For people who watch."""
        rung = "to its end" if self.evaluations is None else f"to evaluation {self.evaluations}"
        return f"trial {self.out.name} {rung}"


def work(assignment: Assignment) -> None:
    """Carry out an assignment in this process, which keeps the base model for the next one."""
    trainer = _trainer(assignment.data)
    trainer([Job(assignment.out, assignment.settings)], assignment.evaluations)


def assignments(data: Path, jobs: Sequence[Job], evaluations: int | None) -> list[Assignment]:
    """One for each job, with absolute paths: a worker may stand elsewhere."""
    return [
        Assignment(data.absolute(), job.out.absolute(), _absolute(job.settings), evaluations)
        for job in jobs
    ]


@contextmanager
def processes(data: Path, count: int) -> Iterator[Advance]:
    """`count` processes on this machine, which share its cores."""
    import torch

    context = get_context("spawn")
    gpus, threads = torch.cuda.device_count(), max(1, (os.cpu_count() or 1) // count)
    places = context.Queue()
    for number in range(count):
        places.put(str(number % gpus) if gpus else None)
    with ProcessPoolExecutor(count, context, _begin, (threads, places)) as pool:

        def advance(jobs: Sequence[Job], evaluations: int | None = None) -> None:
            for _ in pool.map(work, assignments(data, jobs, evaluations)):
                pass

        yield advance


def _begin(threads: int, places: "Queue[str | None]") -> None:
    """Take a GPU, where there are some, and a share of the cores."""
    gpu = places.get()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    import torch

    torch.set_num_threads(threads)


@lru_cache(maxsize=1)
def _trainer(data: Path) -> "Trainer":
    from tasks.tune.cohort import Trainer

    return Trainer(data, data / "unused")


def _absolute(settings: Settings) -> Settings:
    state = settings.project.state_dir.absolute()
    return settings.model_copy(
        update={"project": settings.project.model_copy(update={"state_dir": state})}
    )
