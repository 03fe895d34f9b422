"""Versions and decisions in a terminal."""

from typing import Any

from perpetune.render.console import console, escape, print_table, program


def show_status(status: dict[str, Any]) -> None:
    """Aliases and what waits."""
    rows = [(alias, status[alias] or "-") for alias in ("champion", "challenger", "previous")]
    print_table(status["model"], ["alias", "version"], rows)
    for item in status["pending"]:
        console.print(
            f"version {item['version']} waits: {program()} approve {item['version']} --by NAME"
        )
    platform = status.get("platform")
    if platform and platform["running"]:
        console.print(f"platform: {', '.join(platform['running'])} at {platform['prefect_url']}")
    if platform and platform["gone"]:
        console.print(f"platform: {', '.join(platform['gone'])} no longer run: {program()} up")
    for warning in status.get("warnings", []):
        console.print(f"[red]{escape(str(warning))}[/]")


def show_decision(decision: dict[str, Any]) -> None:
    """What was decided, and where each alias is now."""
    console.print(
        f"{decision['action']} version {decision['version']} by {escape(decision['by'])}: "
        + ", ".join(f"{alias} = {version}" for alias, version in decision["after"].items())
    )
