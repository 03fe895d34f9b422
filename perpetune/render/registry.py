"""Versions and decisions in a terminal."""

from perpetune.platform.results import ProjectStatus
from perpetune.render.console import console, escape, print_table, program
from tasks.decisions import Decision


def show_status(status: ProjectStatus) -> None:
    """Aliases and what waits."""
    aliases = {
        "champion": status.champion,
        "challenger": status.challenger,
        "previous": status.previous,
    }
    rows = [(alias, version or "-") for alias, version in aliases.items()]
    print_table(status.model, ["alias", "version"], rows)
    for pending in status.pending:
        number = pending.version
        console.print(f"version {number} waits: {program()} approve {number} --by NAME")
    platform = status.platform
    if platform and platform.running:
        console.print(f"platform: {', '.join(platform.running)} at {platform.prefect_url}")
    if platform and platform.gone:
        console.print(f"platform: {', '.join(platform.gone)} no longer run: {program()} up")
    for warning in status.warnings:
        console.print(f"[red]{escape(warning)}[/]")


def show_decision(decision: Decision) -> None:
    """What was decided, and where each alias is now."""
    console.print(
        f"{decision.action} version {decision.version} by {escape(decision.by)}: "
        + ", ".join(f"{alias} = {version}" for alias, version in decision.after)
    )
