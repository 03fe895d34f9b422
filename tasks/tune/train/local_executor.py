"""Trials trained together in this process: in lanes of one pass, or one after another.

A lane is the part of a pass that one adapter reads. Whether lanes or turns are faster depends on
the machine. On a CPU a pack of some hundred tokens keeps a core busy, and lanes gain nothing; on a
GPU one adapter's pack leaves most of it idle. So it is measured, on the user's own model and data,
before the first trial takes its first step.
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.core import files
from tasks.settings import Settings
from tasks.tune.data.batching import batches
from tasks.tune.data.examples import Data
from tasks.tune.data.groups import Group
from tasks.tune.methods import METHODS
from tasks.tune.methods.settings import LowRank
from tasks.tune.methods.targets import all_linear
from tasks.tune.plan.arithmetic import packs_side_by_side, predict_run
from tasks.tune.plan.machine import available_memory
from tasks.tune.train import trainer
from tasks.tune.train.distributed import SINGLE, Processes
from tasks.tune.train.pack_executor import pack_executor
from tasks.tune.train.run import Run
from tasks.tune.train.trainer import Prepared
from tasks.tune.train.trials import TrialRun

log = logging.getLogger(__name__)

_MIN_SPEEDUP = 1.1
"""More lanes are tried while they are faster by this factor: less is noise, and costs memory."""
_OWN_TO_A_LANE = ("rank", "alpha", "learning_rate", "target_modules")


class LocalExecutor:
    """Trains trials on one set of data in this process; the base model is loaded once.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`.
        lanes_file: keeps the measured number of lanes, so that a sweep that goes on after a crash
            goes on with equal numbers; None: measured by this executor each time.
        on_step: called after each step of each trial's run.
        processes: who trains together.
        read: the content of `data`, where it has been read already.
    """

    def __init__(
        self,
        data: Path,
        lanes_file: Path | None = None,
        on_step: Callable[[TrialRun, Run], None] = lambda *_: None,
        *,
        processes: Processes = SINGLE,
        read: Data | None = None,
    ) -> None:
        self._data, self._lanes_file, self._on_step = data, lanes_file, on_step
        self._processes, self._read = processes, read
        self._prepared: dict[str, Prepared] = {}

    def __call__(self, trials: Sequence[TrialRun], evaluations: int | None = None) -> None:
        """Train trials to the evaluation of that number (from 1), or to their end."""
        for together in self._shared_passes(trials):
            prepared = self._prepare(together[0].settings)
            trainer.train_runs(prepared, together, evaluations, on_step=self._on_step)

    def _prepare(self, settings: Settings) -> Prepared:
        """Data and base for these settings, one base in memory at a time."""
        tune = settings.tune
        key = files.content_key(
            METHODS.get(tune.method.name).quantised,
            tune.max_length,
            tune.objective.plain(),
            settings.base.plain(),
        )
        if key not in self._prepared:
            self._prepared.clear()
            self._prepared[key] = trainer.prepare(self._data, settings, self._processes, self._read)
        return self._prepared[key]

    def _shared_passes(self, trials: Sequence[TrialRun]) -> list[list[TrialRun]]:
        """Trials that share passes, as many together as is fastest."""
        alike: dict[str, list[TrialRun]] = {}
        for trial in trials:
            alike.setdefault(_sharing_key(trial), []).append(trial)
        together: list[list[TrialRun]] = []
        for group in alike.values():
            method = METHODS.get(group[0].settings.tune.method.name)
            count = self._lanes(group) if method.batches_adapters else 1
            together += [group[i : i + count] for i in range(0, len(group), count)]
        return together

    def _lanes(self, trials: Sequence[TrialRun]) -> int:
        settings = trials[0].settings
        if settings.tune.adapter_dropout or len(trials) == 1:
            return 1  # lanes would draw each other's random numbers
        prepared = self._prepare(settings)
        if not prepared.execution.lanes:
            return 1
        targets = [t.settings.tune.method.of(LowRank).target_modules for t in trials]
        if not all(all_linear(prepared.base, names) for names in targets):
            return 1  # PEFT would add every lane's update to each token's embedding
        if settings.sweep.adapters_per_pass != "auto":  # noqa: S105 (a pass through the base)
            return settings.sweep.adapters_per_pass
        kept = self._lanes_file
        measured = files.read_json(kept) if kept and kept.is_file() else {}
        method = settings.tune.method.name
        if method not in measured:
            measured[method] = fastest_lanes(prepared, trials)
            if kept:
                files.write_json(kept, measured)
        return int(measured[method])


def fastest_lanes(prepared: Prepared, trials: Sequence[TrialRun]) -> int:
    """How many of these trials to train in one pass, by a measurement of some seconds.

    Lanes fill a processor that one adapter's batch leaves partly idle. Where half a batch takes
    half the time, nothing is idle, and the answer is one lane. Else two lanes are tried, four and
    so on, each with one forward and backward pass of a batch that none of them has seen before, as
    in training; while memory allows and more are faster.
    """
    settings = trials[0].settings
    plan = batches(prepared.train, settings.tune, settings.project.seed)
    batch = plan[-1]
    bound = settings.plan.memory_gb
    available = bound * 1e9 if bound else available_memory(prepared.base.device)[0]
    largest = max(trials, key=lambda trial: trial.settings.tune.method.of(LowRank).rank).settings

    reference = trainer.reference_of(prepared, [batch])

    def seconds(*sizes: int, lanes: int = 1) -> list[float]:
        """Of passes of so many examples, one after another."""
        taken = []
        with (
            trainer.attach(prepared, trials[-lanes:], len(plan)) as runs,
            pack_executor(runs[0].adapted.network, execution=prepared.execution) as packs,
        ):
            for size in sizes:
                began = time.perf_counter()
                trainer.backward(runs, batch[:size], packs, prepared.objective, reference)
                taken.append(time.perf_counter() - began)
        return taken

    few = max(1, len(batch) // 2)
    share = _tokens(prepared, settings, batch[:few]) / _tokens(prepared, settings, batch)
    # The first pass of all also pays for buffers.
    _, half, whole = seconds(1, few, len(batch))
    if len(batch) > 1 and half / whole < _MIN_SPEEDUP * share:
        log.info("one lane keeps this machine busy: %.2f s a step", whole)
        return 1
    best, best_rate, lanes = 1, 1 / whole, 2
    while lanes <= len(trials):
        needed = predict_run(
            prepared.base, prepared.train, largest, lanes, profiles=prepared.profiles
        )
        if needed is None or needed.total > available:
            log.info("%d lanes would take too much memory, or it is not known how much", lanes)
            break
        (taken,) = seconds(len(batch), lanes=lanes)
        log.info("%d lanes: %.2f s a step of each trial", lanes, taken / lanes)
        if lanes / taken < best_rate * _MIN_SPEEDUP:
            break
        best, best_rate = lanes, lanes / taken
        lanes *= 2
    return best


def _tokens(prepared: Prepared, settings: Settings, groups: Sequence[Group]) -> int:
    """The number that a pass of these groups computes."""
    cut = prepared.execution.cut(
        groups,
        settings.tune.micro_batch_tokens,
        packs_side_by_side(prepared.base.device.type),
        shared=True,
    )
    return sum(prepared.execution.tokens(pack, shared=True) for pack in cut)


def _sharing_key(trial: TrialRun) -> str:
    """Equal for trials that can share passes."""
    values = trial.settings.tune.short()
    shared = {name: value for name, value in values.items() if name not in _OWN_TO_A_LANE}
    return files.content_key(shared, trial.settings.base.plain(), trial.settings.project.seed)
