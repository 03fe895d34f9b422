"""The command on settings: what is in force, what a key is for, a file with comments."""

from pathlib import Path

import click

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import PATH, Context, command
from perpetune.render.settings import show_explanations, show_settings, show_written


@command("settings")
@click.argument("key", required=False)
@click.option("--write", "file", type=PATH, metavar="FILE", help="Write them there, with comments.")
@click.option("--replace", is_flag=True, help="Let --write overwrite a file.")
def settings(context: Context, key: str | None, file: Path | None, replace: bool) -> Outcome:
    """Print the settings in force, or explain one KEY.

    KEY is a setting or a section, such as tune.learning_rate. With --write, an old params.yaml
    becomes one with the keys of this version: what you set stays, your comments do not.
    """
    from tasks.settings.explanation import explain
    from tasks.settings.writing import write_params

    if file:
        if key:
            raise click.UsageError("KEY explains, --write writes: give one of them")
        write_params(file, context.settings, replace=replace)
        return Outcome({"written": str(file)}, show_written)
    if key:
        found = [explanation.to_json() for explanation in explain(context.settings, key)]
        return Outcome({"explanations": found}, show_explanations)
    return Outcome(
        {"settings": context.settings.plain()}, lambda _: show_settings(context.settings)
    )
