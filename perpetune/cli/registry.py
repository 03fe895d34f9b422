"""Commands on versions: what is in use, what waits, a person's decisions, and their log."""

from pathlib import Path
from typing import Any

import click

from perpetune.cli.endings import Outcome
from perpetune.cli.shared import Context, command
from perpetune.platform.results import ProjectStatus
from perpetune.platform.state import in_words, platform_state
from perpetune.render.registry import (
    show_audit,
    show_decision,
    show_diagnosis,
    show_history,
    show_status,
)
from tasks.settings import models
from tasks.watch import watch_state

_REFUSED = 3


@command("status")
def status(context: Context) -> Outcome:
    """Show the champion and what waits for a decision."""
    from tasks.registry import Registry

    found = Registry(context.settings).status()
    platform = platform_state(context.settings)
    said = in_words(platform) if platform else ()
    fields = dict(found) | {"platform": platform, "warnings": (*found.warnings, *said)}
    fields["watch"] = watch_state(context.settings)
    names = models(Path(context.params))
    return Outcome(ProjectStatus(**fields, models=names), show_status)


def _decide(context: Context, action: str, *arguments: Any, **options: Any) -> Outcome:
    from flows.forms import after_decision
    from tasks.registry import Registry

    registry = Registry(context.settings)
    decision = getattr(registry, action)(*arguments, **options)
    after_decision(context.request, registry, decision)
    return Outcome(decision, show_decision)


_by = click.option(
    "--by",
    required=True,
    metavar="NAME",
    help="Who decides; recorded. Where MLflow has accounts: the name of yours.",
)
_comment = click.option("--comment", default="", help="Why; recorded.")


@command("approve")
@click.argument("version", type=int)
@_by
@_comment
@click.option(
    "--override",
    default="",
    metavar="REASON",
    help="Why VERSION becomes champion although its gates did not pass; shown wherever it is.",
)
def approve(context: Context, version: int, by: str, comment: str, override: str) -> Outcome:
    """Make VERSION the champion.

    The champion so far becomes `previous`.
    """
    return _decide(context, "approve", version, by, comment, override=override)


@command("reject")
@click.argument("version", type=int)
@_by
@_comment
def reject(context: Context, version: int, by: str, comment: str) -> Outcome:
    """Decline VERSION; the champion stays."""
    return _decide(context, "reject", version, by, comment)


@command("rollback")
@click.option(
    "--to", type=int, metavar="VERSION", help="An earlier champion; without it, the one before."
)
@_by
@_comment
def rollback(context: Context, to: int | None, by: str, comment: str) -> Outcome:
    """Make an earlier champion the champion again."""
    return _decide(context, "rollback", by, comment, to=to)


@command("history")
def history(context: Context) -> Outcome:
    """Show what people have decided, newest first."""
    from tasks.registry import Registry

    entries = list(Registry(context.settings).history())
    shown = {"decisions": [entry.to_json() for entry in entries]}
    return Outcome(shown, lambda _: show_history(entries))


@command("audit")
def audit(context: Context) -> Outcome:
    """Verify and print the decision log.

    Exit code 3 where the log, MLflow's aliases and tags, or the files of a version in use are not
    as they have to be.
    """
    from flows.forms import tell_of_tampering
    from tasks.registry import Registry

    found = Registry(context.settings).audit()
    tell_of_tampering(context.settings, found)
    return Outcome(found, show_audit, 0 if found.holds else _REFUSED)


@command("doctor")
@click.option(
    "--fix",
    is_flag=True,
    help="Put right what can be put right without a decision; no version is deleted.",
)
@click.option(
    "--relocate",
    is_flag=True,
    help="Only let MLflow's artifacts lead to this folder, after the project was moved or copied.",
)
def doctor(context: Context, fix: bool, relocate: bool) -> Outcome:
    """Look for what is wrong, and say what puts it right."""
    from perpetune.platform.doctor import diagnose

    found = diagnose(context.settings, fix=fix, relocate=relocate)
    return Outcome(found, show_diagnosis, 0 if found.healthy else 1)
