"""The platform in a terminal."""

from perpetune.platform.results import RunningPlatform, StoppedPlatform
from perpetune.render.console import console, escape, program


def show_platform(platform: RunningPlatform) -> None:
    """Where to look."""
    console.print(f"Prefect  {platform.sign_in_url}", soft_wrap=True)
    console.print(f"         sign in with the line in {escape(platform.credential)}")
    console.print(f"MLflow   {platform.rounds_url or platform.mlflow_url}", soft_wrap=True)
    for item in platform.waiting:
        console.print(f"\nversion {item.version} waits for a decision")
        console.print(f"  review sheet  {escape(item.review_url)}", soft_wrap=True)
        console.print(f"  evidence      {escape(item.version_url)}", soft_wrap=True)
        form = item.form_url or f"{program()} approve {item.version} --by NAME"
        console.print(f"  decide        {escape(form)}\n", soft_wrap=True)
    console.print(f"stop with  {program()} down")


def show_stopped(platform: StoppedPlatform) -> None:
    """What was ended."""
    if platform.stopped:
        console.print(f"stopped: {', '.join(platform.stopped)}")
    if platform.gone:
        console.print(f"were not running any more: {', '.join(platform.gone)}")
    if not platform.stopped and not platform.gone:
        console.print("no platform was running")
