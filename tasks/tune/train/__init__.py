"""Fit one configuration: the trainer, checkpoints, results, and where trials are trained.

trainer         data and base model → trained weights
run             weights, optimiser and curve of one configuration
checkpoint      what a killed run goes on from
finishing       the end of a run: its folder and its result
results         the result as a value
executors       trials in other processes (`local_executor`: in this one)
"""

import logging
from pathlib import Path

from tasks.settings import Settings
from tasks.tune.train.conditions import Conditions
from tasks.tune.train.executors import run_task, sequential_executor
from tasks.tune.train.results import TrainingResult, worse_than_base
from tasks.tune.train.trials import Executor, TrialRun, TrialTask, trial_tasks

__all__ = [
    "Conditions",
    "Executor",
    "TrainingResult",
    "TrialRun",
    "TrialTask",
    "run_task",
    "train",
    "trial_tasks",
]

log = logging.getLogger(__name__)


def train(
    data: Path,
    out: Path,
    settings: Settings,
    plots: Path | None = None,
) -> TrainingResult:
    """Train the configuration in `settings.tune`.

    Writes into `out`: `best/`, the weights with the lowest validation loss (a PEFT adapter, or
    the whole model where the method trains its own weights); `curve.jsonl`, a line for each
    optimiser step; and, last of all, `metrics.json`, so that its existence means that the run is
    whole. Killed and run again, it goes on from its last checkpoint; run again after its end, it
    starts over.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`, as `curate` writes them.
        out: folder of this run alone.
        settings: `tune`, `base` and the project's seed matter.
        plots: folder for the curves as DVC plots them, where wanted.

    Returns:
        What `metrics.json` holds.

    Raises:
        BadInput: a file of `data` is missing, empty or damaged, or holds nothing to learn, or a
            setting cannot work with this base or these data.
        PerpetuneError: a loss is no finite number, the base's own among them.
    """
    # Imported here: `perpetune --help` imports this module, and torch takes seconds.
    from tasks.tune.data import examples
    from tasks.tune.train import checks, dvc_plots, finishing, trainer
    from tasks.tune.train.progress import progress_bar

    read = examples.read(data, settings)
    warnings = checks.check(read, settings)
    seen = examples.seen(read.train.groups, settings.tune, settings.project.seed)
    log.info("%s", seen)
    for warning in warnings:
        log.warning("%s", warning)
    run = TrialRun(out, settings)
    if settings.tune.processes > 1:
        (out / "metrics.json").unlink(missing_ok=True)
        sequential_executor(data)([run], None)
    else:
        prepared = trainer.prepare(data, settings, read=read)
        with progress_bar(settings.tune.method.name) as stepped:
            trainer.train_runs(prepared, [run], on_step=stepped)
    result = finishing.finish(run, examples_seen=seen.examples, warnings=warnings)
    if result.worse_than_base:
        loss, base_loss = result.validation_loss, result.initial_validation_loss
        log.warning("%s", worse_than_base(loss, base_loss))
    if plots:
        dvc_plots.write_plots(out / "curve.jsonl", plots)
    return result
