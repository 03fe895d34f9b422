"""Executors that train in other processes: each trial in one of them, or all of them on each trial.

What a process needs and what it leaves is in files, so `run_task` serves processes on this machine
and tasks on a cluster whose machines share those folders alike.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.tune.train.trials import Executor, TrialRun, TrialTask, trial_tasks, write_task

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from tasks.tune.train.local_executor import LocalExecutor


def run_task(task: TrialTask) -> None:
    """Carry out a task: in this process, which keeps the base model for the next one, or in
    `tune.processes` new ones that share each batch.

    Raises:
        BadInput: the settings cannot work with the base or the data.
        PerpetuneError: the run failed, or one of its processes died.
    """
    if task.settings.tune.processes > 1:
        _run_by_torchrun(task)
        return
    _local_executor(task.data)([TrialRun(task.out, task.settings)], task.evaluations)


def sequential_executor(data: Path) -> Executor:
    """One run after another, each in as many processes as its settings ask for."""

    def execute(runs: Sequence[TrialRun], evaluations: int | None = None) -> None:
        for task in trial_tasks(data, runs, evaluations):
            run_task(task)

    return execute


@contextmanager
def process_executor(data: Path, count: int, gpus_each: int = 1) -> Iterator[Executor]:
    """`count` processes that share this machine's cores, each with `gpus_each` GPUs."""
    import torch

    context = get_context("spawn")
    gpus, threads = torch.cuda.device_count(), max(1, (os.cpu_count() or 1) // count)
    devices = context.Queue()
    for process in range(count):
        own = range(process * gpus_each, (process + 1) * gpus_each)
        devices.put(",".join(str(gpu % gpus) for gpu in own) if gpus else None)
    with ProcessPoolExecutor(count, context, _start_worker, (threads, devices)) as pool:

        def execute(runs: Sequence[TrialRun], evaluations: int | None = None) -> None:
            for _ in pool.map(run_task, trial_tasks(data, runs, evaluations)):
                pass

        try:
            yield execute
        except BaseException:
            # The pool would wait for the trials that are under way.
            for child in active_children():
                child.terminate()
            raise


def _start_worker(threads: int, devices: "Queue[str | None]") -> None:
    """Take GPUs, if there are any, and a share of the cores."""
    visible = devices.get()
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    import torch

    torch.set_num_threads(threads)


def _run_by_torchrun(task: TrialTask) -> None:
    """Carry out a task in several processes, which end when this one does, however it ends."""
    count = task.settings.tune.processes
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    with tempfile.TemporaryDirectory(prefix="perpetune-") as name:
        folder = Path(name)
        write_task(task, folder / "task.json")
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={count}", "-m", "tasks.tune", name]
        # Their standard output goes to stderr: ours is for the command's JSON.
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=2, env=threads | os.environ
        ) as process:
            code = process.wait()
        error = folder / "error.json"
        if error.is_file():
            reported = files.read_json(error)
            kind = BadInput if reported["kind"] == "input" else PerpetuneError
            raise kind(reported["message"])
        if code:
            raise PerpetuneError(
                f"{task.out}: one of the {count} processes of tune.processes ended with exit "
                f"code {code}; its messages are above"
            )


@lru_cache(maxsize=1)
def _local_executor(data: Path) -> "LocalExecutor":
    from tasks.tune.train.local_executor import LocalExecutor

    return LocalExecutor(data)
