"""Commands that measure: a model on held-out data, traffic against the training data."""

from pathlib import Path

import click

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import PATH, Context, command
from perpetune.render.drift import show_drift
from perpetune.render.evaluate import show_evaluation
from tasks.core.files import content_key, write_json


@command("evaluate")
@click.argument("model")
@click.option("--data", type=PATH, multiple=True, required=True, help="Held-out data; repeatable.")
@click.option("--out", type=PATH, help="Folder for the figures of every example.")
@click.option("--metrics", type=PATH, metavar="FILE", help="Also write what counts, for DVC.")
def evaluate(
    context: Context,
    model: str,
    data: tuple[Path, ...],
    out: Path | None,
    metrics: Path | None,
) -> Outcome:
    """Measure MODEL on held-out data.

    MODEL is a folder that training wrote, models:/name@alias, or base.
    """
    from tasks.evaluate import evaluate as run
    from tasks.registry import resolve_model

    folder = resolve_model(model, context.settings)
    out = out or _default_folder(context, model, data)
    result = run(folder, list(data), out, context.settings)
    if metrics:
        write_json(metrics, result.headline())
    return Outcome(result, show_evaluation)


def _default_folder(context: Context, model: str, data: tuple[Path, ...]) -> Path:
    key = content_key(model, [str(path) for path in data])
    return context.settings.project.model_dir / "evaluated" / key


@command("drift")
@click.option("--reference", type=PATH, required=True, help="What the model was trained on.")
@click.option("--current", type=PATH, required=True, help="New traffic.")
@click.option("--report", type=PATH, metavar="FILE.html", help="Also write Evidently's report.")
def drift(context: Context, reference: Path, current: Path, report: Path | None) -> Outcome:
    """Test whether the traffic in CURRENT differs from REFERENCE.

    The exit code is 0 either way.
    """
    from tasks.drift import detect

    return Outcome(detect(reference, current, context.settings, report=report), show_drift)
