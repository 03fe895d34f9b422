"""Trials trained by several processes: each trial by one of them, or all of them by each trial.

What a process needs and what it leaves lies in files, so the same function serves processes on this
machine and tasks on a cluster whose machines share those folders.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.settings import Settings

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from tasks.tune.train.local_trainer import Trainer


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
    """Carry out an assignment: in this process, which keeps the base model for the next one, or by
    `tune.processes` that share each batch."""
    if assignment.settings.tune.processes > 1:
        _together(assignment)
        return
    trainer = _trainer(assignment.data)
    trainer([Job(assignment.out, assignment.settings)], assignment.evaluations)


def assignments(data: Path, jobs: Sequence[Job], evaluations: int | None) -> list[Assignment]:
    """One for each job, with absolute paths: a worker may stand elsewhere."""
    return [
        Assignment(data.absolute(), job.out.absolute(), _absolute(job.settings), evaluations)
        for job in jobs
    ]


def one_by_one(data: Path) -> Advance:
    """Each trial in turn, by the processes that it asks for."""

    def advance(jobs: Sequence[Job], evaluations: int | None = None) -> None:
        for assignment in assignments(data, jobs, evaluations):
            work(assignment)

    return advance


@contextmanager
def processes(data: Path, count: int, gpus_each: int = 1) -> Iterator[Advance]:
    """`count` processes on this machine, which share its cores, with so many GPUs each."""
    import torch

    context = get_context("spawn")
    gpus, threads = torch.cuda.device_count(), max(1, (os.cpu_count() or 1) // count)
    places = context.Queue()
    for number in range(count):
        own = range(number * gpus_each, (number + 1) * gpus_each)
        places.put(",".join(str(each % gpus) for each in own) if gpus else None)
    with ProcessPoolExecutor(count, context, _begin, (threads, places)) as pool:

        def advance(jobs: Sequence[Job], evaluations: int | None = None) -> None:
            for _ in pool.map(work, assignments(data, jobs, evaluations)):
                pass

        try:
            yield advance
        except BaseException:
            # The pool would wait for the trials that are under way.
            for child in active_children():
                child.terminate()
            raise


def _begin(threads: int, places: "Queue[str | None]") -> None:
    """Take a GPU, where there are some, and a share of the cores."""
    gpu = places.get()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    import torch

    torch.set_num_threads(threads)


def _together(assignment: Assignment) -> None:
    """By several processes, which end when this one does, however it ends.

    Raises:
        BadInput: what they raised.
        PerpetuneError: what they raised, or one of them died.
    """
    count = assignment.settings.tune.processes
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    with tempfile.TemporaryDirectory(prefix="perpetune-") as name:
        folder = Path(name)
        (folder / "assignment.json").write_bytes(ASSIGNMENT.dump_json(assignment))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={count}", "-m", "tasks.tune", name]
        # Their standard output is not ours: there goes what a machine reads.
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=2, env=threads | os.environ
        ) as process:
            code = process.wait()
        error = folder / "error.json"
        if error.is_file():
            said = files.read_json(error)
            raise (BadInput if said["kind"] == "input" else PerpetuneError)(said["message"])
        if code:
            raise PerpetuneError(
                f"{assignment.out}: one of the {count} processes of tune.processes ended with "
                f"exit code {code}; what it said stands above"
            )


ASSIGNMENT = TypeAdapter(Assignment)
"""Assignments as JSON."""


@lru_cache(maxsize=1)
def _trainer(data: Path) -> "Trainer":
    from tasks.tune.train.local_trainer import Trainer

    return Trainer(data, data / "unused")


def _absolute(settings: Settings) -> Settings:
    state = settings.project.state_dir.absolute()
    return settings.replace(project=settings.project.replace(state_dir=state))
