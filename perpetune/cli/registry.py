"""Commands on versions: what is in use, what waits, and a person's decisions."""

from typing import Any

import click

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import Context, command
from perpetune.platform.processes import platform_state
from perpetune.platform.results import ProjectStatus
from perpetune.render.registry import show_decision, show_status


@command("status")
def status(context: Context) -> Outcome:
    """Show the champion and what waits for a decision."""
    from tasks.registry import Registry

    found = Registry(context.settings).status()
    platform = platform_state(context.settings)
    return Outcome(ProjectStatus(**dict(found), platform=platform), show_status)


def _decide(context: Context, action: str, *arguments: Any) -> Outcome:
    from tasks.registry import Registry

    decision = getattr(Registry(context.settings), action)(*arguments)
    return Outcome(decision, show_decision)


_by = click.option("--by", required=True, metavar="NAME", help="Who decides; recorded.")
_comment = click.option("--comment", default="", help="Why; recorded.")


@command("approve")
@click.argument("version", type=int)
@_by
@_comment
def approve(context: Context, version: int, by: str, comment: str) -> Outcome:
    """Make VERSION the champion.

    The champion so far becomes `previous`.
    """
    return _decide(context, "approve", version, by, comment)


@command("reject")
@click.argument("version", type=int)
@_by
@_comment
def reject(context: Context, version: int, by: str, comment: str) -> Outcome:
    """Decline VERSION; the champion stays."""
    return _decide(context, "reject", version, by, comment)


@command("rollback")
@_by
@_comment
def rollback(context: Context, by: str, comment: str) -> Outcome:
    """Make the previous champion the champion again."""
    return _decide(context, "rollback", by, comment)
