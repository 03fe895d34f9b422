"""The command that gives figures to Prometheus."""

from pathlib import Path

import click

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import PATH, Context, command


@command("metrics")
@click.option("--port", type=click.IntRange(1, 65535), help="Serve them over HTTP until ended.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve on.")
@click.option("--out", type=PATH, help="Write them to a file, for node_exporter.")
def metrics(context: Context, port: int | None, host: str, out: Path | None) -> Outcome:
    """Print or serve figures for Prometheus."""
    from perpetune.platform.metrics import Exporter, as_text, serve, write

    exporter = Exporter(Path(context.params), context.overrides, context.model)
    if port is not None:
        serve(exporter, host, port)
    if out is not None:
        write(exporter, out)
    samples = [sample.to_json() for sample in exporter.samples()]
    return Outcome({"metrics": samples}, lambda _: click.echo(as_text(exporter), nl=False))
