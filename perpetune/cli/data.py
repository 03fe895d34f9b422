"""Commands on data: collect it, curate it."""

from pathlib import Path
from typing import Literal

import click

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import PATH, Context, command
from perpetune.render.curate import show_collected, show_curated
from tasks.core.files import write_json


@command("collect")
@click.argument("inputs", nargs=-1)
@click.option(
    "--role",
    type=click.Choice(["train", "benchmarks", "traffic"]),
    default="train",
    show_default=True,
    help="What these inputs are.",
)
@click.option(
    "--add", is_flag=True, help="Add to the files of that role instead of replacing them."
)
@click.option("--split", default="train", show_default=True, help="Split of a hub data set.")
@click.option("--out", type=PATH, default=Path("data"), show_default=True)
@click.option("--record", "accept", is_flag=True, help="Record the data's version in data.dvc.")
@click.option("--manifest", type=PATH, help="Write the files' hashes there (the DVC stage does).")
def collect(
    context: Context,
    inputs: tuple[str, ...],
    role: Literal["train", "benchmarks", "traffic"],
    add: bool,
    split: str,
    out: Path,
    accept: bool,
    manifest: Path | None,
) -> Outcome:
    """Build data/ from the embedded default or from INPUTS.

    INPUTS are files, folders, globs or hub:ID.
    """
    from tasks.collect import Inputs
    from tasks.collect import collect as run

    own = Inputs(inputs, role, add, split) if inputs else None
    collected = run(context.settings, out, own, accept=accept, manifest=manifest)
    return Outcome(collected, show_collected)


@command("curate")
@click.argument("inputs", nargs=-1)
@click.option(
    "--against", multiple=True, metavar="BENCH...", help="Benchmarks, up to the next option."
)
@click.option("--out", type=PATH, required=True, help="Folder for the output files.")
@click.option("--metrics", type=PATH, help="Also write the counts there, without timings.")
@click.option(
    "--engine",
    type=click.Choice(["native", "ray"]),
    default="native",
    show_default=True,
    help="Where the work is done: on this machine, or on the Ray cluster of RAY_ADDRESS.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    help="Processes; 0 or nothing: one for each CPU. The output does not depend on it.",
)
def curate(
    context: Context,
    inputs: tuple[str, ...],
    against: tuple[str, ...],
    out: Path,
    metrics: Path | None,
    engine: Literal["native", "ray"],
    workers: int,
) -> Outcome:
    """Clean, deduplicate, decontaminate and split INPUTS.

    Without INPUTS it reads those of params.yaml.
    """
    from tasks.curate import choose_sources
    from tasks.curate import curate as run

    sources = choose_sources(context.settings, inputs, against)
    report = run(
        sources.inputs, sources.benchmarks, out, context.settings, on=engine, workers=workers
    )
    if metrics:
        write_json(metrics, report.counts.to_json())
    return Outcome(report, show_curated)
