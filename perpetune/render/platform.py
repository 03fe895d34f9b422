"""The platform in a terminal."""

from typing import Any

from perpetune.render.console import console, escape, program


def show_platform(platform: dict[str, Any]) -> None:
    """Where to look."""
    console.print(f"Prefect  {platform['sign_in_url']}", soft_wrap=True)
    console.print(f"         sign in with the line in {escape(platform['credential'])}")
    console.print(f"MLflow   {platform['mlflow_url']}", soft_wrap=True)
    console.print(f"stop with  {program()} down")


def show_stopped(value: dict[str, Any]) -> None:
    """What was ended."""
    if value["stopped"]:
        console.print(f"stopped: {', '.join(value['stopped'])}")
    if value["gone"]:
        console.print(f"were not running any more: {', '.join(value['gone'])}")
    if not value["stopped"] and not value["gone"]:
        console.print("no platform was running")
