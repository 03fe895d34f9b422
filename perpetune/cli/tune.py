"""Commands that train: one configuration, a search, and what each method would take."""

from pathlib import Path

import click

from flows.ray import workers
from perpetune.cli.endings import Outcome
from perpetune.cli.shared import PATH, Context, command
from perpetune.render.tune import live_trials, show_plan, show_sweep, show_training
from tasks.core.files import write_json


@command("train")
@click.option("--data", type=PATH, required=True, help="Folder with train and validation.jsonl.")
@click.option("--out", type=PATH, required=True)
@click.option("--plots", type=PATH, metavar="DIR", help="Also write the curves for DVC's plots.")
@click.option("--metrics", type=PATH, metavar="FILE", help="Also write what counts, for DVC.")
def train(
    context: Context, data: Path, out: Path, plots: Path | None, metrics: Path | None
) -> Outcome:
    """Train the one configuration of params.yaml.

    OUT/best is a plain PEFT adapter, or a model.
    """
    from tasks.tune.train import train as run

    result = run(data, out, context.settings, plots=plots)
    if metrics:
        write_json(metrics, result.headline())
    return Outcome(result, show_training)


@command("sweep")
@click.option("--data", type=PATH, required=True, help="Folder with train and validation.jsonl.")
@click.option("--out", type=PATH, required=True)
def sweep(context: Context, data: Path, out: Path) -> Outcome:
    """Search for the best configuration.

    The settings `sweep` say what varies. OUT/best is the winner: a plain PEFT adapter, or a model.
    """
    from tasks.tune.sweep import sweep as run

    with live_trials() as show:
        result = run(
            data, out, context.settings, on_progress=show, workers=workers(context.settings)
        )
    return Outcome(result, show_sweep)


@command("plan")
@click.option("--data", type=PATH, required=True, help="Folder with train and validation.jsonl.")
def plan(context: Context, data: Path) -> Outcome:
    """Predict memory, time and cost of each method; advise one."""
    from tasks.tune.plan import plan as run

    return Outcome(run(data, context.settings), show_plan)
