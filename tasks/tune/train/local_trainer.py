"""Trials trained together in one process: in lanes of one pass, or one after another.

Which of the two is faster depends on the machine. On a CPU a pack of some hundred tokens keeps a
core busy, and lanes gain nothing; on a GPU one adapter's pack leaves most of it idle. So it is
measured, on the user's own model and data, before the first trial takes its first step.
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.core import files
from tasks.settings import Settings
from tasks.tune.data.batching import batches
from tasks.tune.data.examples import Data
from tasks.tune.methods import METHODS
from tasks.tune.methods.targets import all_linear
from tasks.tune.plan.arithmetic import packs_side_by_side, predict_run
from tasks.tune.plan.machine import available_memory
from tasks.tune.train import loop, training
from tasks.tune.train.distributed import ALONE, Processes
from tasks.tune.train.executors import Job
from tasks.tune.train.training import Prepared

log = logging.getLogger(__name__)

Watch = Callable[[Job, loop.Run], None]
"""Told of each step of each job's run."""

_GAIN = 1.1
"""More lanes are tried as long as they are faster by so much: less is noise, and costs memory."""


class Trainer:
    """Trains jobs on one set of data in this process; the base model is loaded once.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`.
        notes: file that keeps the measured number of lanes, so that a sweep that goes on after a
            crash goes on with equal numbers.
        watch: is told of each step.
        processes: who trains together.
        read: the content of `data`, where it has been read already.
    """

    def __init__(
        self,
        data: Path,
        notes: Path,
        watch: Watch = lambda *_: None,
        *,
        processes: Processes = ALONE,
        read: Data | None = None,
    ) -> None:
        self._data, self._notes, self._watch = data, notes, watch
        self._processes, self._read = processes, read
        self._prepared: dict[str, Prepared] = {}

    def __call__(self, jobs: Sequence[Job], evaluations: int | None = None) -> None:
        """Take jobs on to the evaluation of that number (from 1), or to their end."""
        for group in self._groups(jobs):
            prepared = self._prepare(group[0].settings)
            training.advance(prepared, group, evaluations, on_step=self._watch)

    def _prepare(self, settings: Settings) -> Prepared:
        """Data and base for these settings, one base in memory at a time."""
        key = files.content_key(
            METHODS[settings.tune.method].quantised, settings.tune.max_length, settings.base.plain()
        )
        if key not in self._prepared:
            self._prepared.clear()
            self._prepared[key] = training.prepare(
                self._data, settings, self._processes, self._read
            )
        return self._prepared[key]

    def _groups(self, jobs: Sequence[Job]) -> list[list[Job]]:
        """Jobs that share passes, as many together as is fastest."""
        alike: dict[str, list[Job]] = {}
        for job in jobs:
            alike.setdefault(_sharing(job), []).append(job)
        groups: list[list[Job]] = []
        for some in alike.values():
            count = self._lanes(some) if METHODS[some[0].settings.tune.method].shares else 1
            groups += [some[at : at + count] for at in range(0, len(some), count)]
        return groups

    def _lanes(self, jobs: Sequence[Job]) -> int:
        settings = jobs[0].settings
        if settings.tune.dropout or len(jobs) == 1:
            return 1  # lanes would draw each other's random numbers
        prepared = self._prepare(settings)
        if not prepared.execution.lanes:
            return 1
        if not all(all_linear(prepared.base, job.settings.tune.target_modules) for job in jobs):
            return 1  # PEFT would add every lane's update to each token's embedding
        if settings.sweep.packed != "auto":
            return settings.sweep.packed
        noted = files.read_json(self._notes) if self._notes.is_file() else {}
        method = settings.tune.method
        if method not in noted:
            noted[method] = fastest(self._prepare(settings), jobs)
            files.write_json(self._notes, noted)
        return int(noted[method])


def fastest(prepared: Prepared, jobs: Sequence[Job]) -> int:
    """How many of these jobs to train in one pass, by a measurement of some seconds.

    Lanes fill a processor that one adapter's batch leaves partly idle. Where half a batch takes
    half the time, nothing is idle, and one lane it is. Else two lanes are tried, four and so on,
    each with one forward and backward pass of a batch that none of them has met before, as in
    training; while memory allows and more are faster.
    """
    settings = jobs[0].settings
    plan = batches(prepared.train, settings.tune, settings.project.seed)
    batch = plan[-1]
    bound = settings.plan.memory_gb
    available = bound * 1e9 if bound else available_memory(prepared.base.device)[0]
    widest = max(jobs, key=lambda job: job.settings.tune.rank).settings

    def seconds(*sizes: int, lanes: int = 1) -> list[float]:
        """Of passes of so many examples, one after another."""
        taken = []
        with (
            training.attached(prepared, jobs[-lanes:], len(plan)) as runs,
            loop.cores(runs[0].adapted.network, execution=prepared.execution) as here,
        ):
            for size in sizes:
                began = time.perf_counter()
                loop.backward(runs, batch[:size], here)
                taken.append(time.perf_counter() - began)
        return taken

    def rows(size: int) -> int:
        """Of the products of such a pass."""
        cut = prepared.execution.cut(
            batch[:size],
            settings.tune.micro_batch_tokens,
            packs_side_by_side(prepared.base.device.type),
            shared=True,
        )
        return sum(prepared.execution.tokens(each, shared=True) for each in cut)

    few = max(1, len(batch) // 2)
    # The first pass of all also pays for buffers.
    _, half, whole = seconds(1, few, len(batch))
    if len(batch) > 1 and half / whole < _GAIN * rows(few) / rows(len(batch)):
        log.info("one lane keeps this machine busy: %.2f s a step", whole)
        return 1
    best, best_rate, lanes = 1, 1 / whole, 2
    while lanes <= len(jobs):
        needed = predict_run(
            prepared.base, prepared.train, widest, lanes, profiles=prepared.profiles
        )
        if needed is None or needed.total > available:
            log.info("%d lanes would take too much memory, or it is not known how much", lanes)
            break
        (taken,) = seconds(len(batch), lanes=lanes)
        log.info("%d lanes: %.2f s a step of each trial", lanes, taken / lanes)
        if lanes / taken < best_rate * _GAIN:
            break
        best, best_rate = lanes, lanes / taken
        lanes *= 2
    return best


def _sharing(job: Job) -> str:
    """Equal for jobs that can share passes."""
    plain = job.settings.tune.plain()
    own = ("rank", "alpha", "learning_rate", "target_modules")
    shared = {name: value for name, value in plain.items() if name not in own}
    return files.content_key(shared, job.settings.base.plain(), job.settings.project.seed)
