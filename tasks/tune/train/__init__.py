"""Fit one configuration: the trainer, checkpoints, results, and where trials are trained.

trainer         data and base model → trained weights
run             weights, optimiser and curve of one configuration
checkpoint      what a killed run goes on from
results         what a run leaves
executors       trials in other processes (`local_executor`: in this one)
"""

import logging
from pathlib import Path
from typing import Any

from tasks.settings import Settings
from tasks.tune.train.executors import run_task, sequential_executor
from tasks.tune.train.trials import Executor, TrialRun, TrialTask, trial_tasks

__all__ = ["Executor", "TrialRun", "TrialTask", "run_task", "train", "trial_tasks"]

log = logging.getLogger(__name__)


def train(
    data: Path,
    out: Path,
    settings: Settings,
    plots: Path | None = None,
) -> dict[str, Any]:
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
        What `metrics.json` holds: losses are nats per learned token, `tokens_per_second`
        counts trained tokens over all of `seconds`, evaluations included. `examples_seen` of
        `train_examples` are what the configured steps see; `data` counts what `tune.max_length`
        cut or left out; `worse_than_base` says that no evaluation was better than the base's;
        `warnings` are sentences.

    Raises:
        BadInput: a file of `data` is missing, empty or damaged, or holds nothing to learn, or a
            setting cannot work with this base or these data.
        PerpetuneError: a loss is no finite number, the base's own among them.
    """
    # Imported here: `perpetune --help` imports this module, and torch takes seconds.
    from tasks.tune.data import examples
    from tasks.tune.train import checks, dvc_plots, results, trainer
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
    more = {"examples_seen": seen.examples, "warnings": warnings}
    metrics = results.finish(run, more=more)
    if metrics["worse_than_base"]:
        log.warning("%s", results.worse_than_base(metrics))
    if plots:
        dvc_plots.write_plots(out / "curve.jsonl", plots)
    return metrics
