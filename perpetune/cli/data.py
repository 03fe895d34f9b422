"""Commands on data: collect it, curate it."""

from pathlib import Path
from typing import Any, Literal

import click

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import PATH, Context, command
from perpetune.render.curate import show_collected, show_curated


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
    role: Any,
    add: bool,
    split: str,
    out: Path,
    accept: bool,
    manifest: Path | None,
) -> Outcome:
    """Build data/ from the embedded default or from INPUTS.

    INPUTS are files, folders, globs or hub:ID.
    """
    from flows.data import POINTER
    from tasks.collect import (
        collect_embedded,
        collect_files,
        ensure_data,
        recorded_version,
        write_pointer,
    )
    from tasks.core import files

    if inputs:
        collect_files(list(inputs), out, role, add=add, split=split)
        hashes = files.file_hashes(out)
    elif accept and out.is_dir():
        hashes = files.file_hashes(out)
    elif accept or not POINTER.is_file() or out != Path("data"):
        hashes = collect_embedded(context.settings, out)
    else:
        hashes = ensure_data(context.settings, out, POINTER)
    if accept:
        write_pointer(out, POINTER)
    if manifest:
        files.write_json(manifest, hashes)
    version = recorded_version(POINTER)
    recorded = version == files.folder_hash(hashes)
    value = {"folder": str(out), "version": version, "recorded": recorded, "files": hashes}
    return Outcome(value, show_collected)


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
    from flows.data import training_sources
    from tasks.core import files
    from tasks.curate import curate as run

    settings = context.settings
    # Inputs of one's own are held against benchmarks of one's own, not against the default's.
    benchmarks = list(against) if inputs or against else settings.curate.benchmarks
    sources = list(inputs) or training_sources(settings)
    report = run(sources, benchmarks, out, settings, on=engine, workers=workers)
    if metrics:
        files.write_json(metrics, {key: report[key] for key in ("in", "kept", "dropped")})
    return Outcome(report, show_curated)
