"""The command that makes a registered version again."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import PATH, Context, command
from perpetune.render.reproduce import show_reproduction
from tasks.core.errors import BadInput

if TYPE_CHECKING:
    from tasks.reproduce import Recorded

_NOT_IDENTICAL = 3


@command("reproduce")
@click.argument("version", type=int)
@click.option("--out", type=PATH, help="Where the report and the weights go.")
@click.option("--keep", is_flag=True, help="Keep the worktree, the data and the run.")
def reproduce(context: Context, version: int, out: Path | None, keep: bool) -> Outcome:
    """Make VERSION again from its commit, data and settings.

    Its code is checked out beside yours, its data is found by hash, its configuration is trained
    again, and data, losses and weights are compared. The exit code is 0 where all are equal in
    bits, 3 where they are not; the report says what differs. Without --out the report is in the
    state folder, below reproduced/.
    """
    from tasks.reproduce import reproduce as run

    out = out or context.settings.project.model_dir / "reproduced" / str(version)
    result = run(_recorded(context, version), out, context.settings, keep=keep)
    return Outcome(result, show_reproduction, 0 if result.identical else _NOT_IDENTICAL)


def _recorded(context: Context, version: int) -> "Recorded":
    """What the registry holds of a version.

    Raises:
        BadInput: there is no such version, or it was registered without a recipe.
    """
    from tasks.registry import Registry
    from tasks.reproduce import Recorded

    registry = Registry(context.settings)
    adapter = registry.versions.adapter(f"models:/{registry.name}/{version}")
    try:
        recipe = registry.versions.artifact(version, "recipe")
    except BadInput:
        raise BadInput(
            f"version {version} was registered without a recipe, by an earlier version of "
            "Perpetune or by another program, so that it cannot be made again"
        ) from None
    return Recorded(registry.name, version, recipe, adapter)
