"""The platform in a terminal."""

from perpetune.platform.results import RunningPlatform, StoppedPlatform
from perpetune.render.console import command_line, console, escape, program
from tasks.backup import Backup, Restored


def show_platform(platform: RunningPlatform) -> None:
    """Where to look."""
    console.print(f"Prefect  {platform.sign_in_url}", soft_wrap=True)
    console.print(f"         sign in with the line in {escape(platform.credential)}")
    console.print(f"MLflow   {platform.rounds_url or platform.mlflow_url}", soft_wrap=True)
    for item in platform.waiting:
        console.print(f"\nversion {item.version} waits for a decision")
        console.print(f"  review sheet  {escape(item.review_url)}", soft_wrap=True)
        console.print(f"  evidence      {escape(item.version_url)}", soft_wrap=True)
        form = item.form_url or command_line(f"approve {item.version} --by NAME")
        console.print(f"  decide        {escape(form)}\n", soft_wrap=True)
    console.print(f"stop with  {program()} down")


def show_stopped(platform: StoppedPlatform) -> None:
    """What was ended."""
    if platform.stopped:
        console.print(f"stopped: {', '.join(platform.stopped)}")
    if platform.gone:
        console.print(f"were not running any more: {', '.join(platform.gone)}")
    if platform.others:
        console.print(f"ended as well: {platform.others} processes that the platform had started")
    if not platform.stopped and not platform.gone and not platform.others:
        console.print("no platform was running")


def show_backup(backup: Backup) -> None:
    """Where it is, how large, and what is saved elsewhere."""
    megabytes = f"{backup.bytes / 1e6:,.1f} MB"
    console.print(f"saved {backup.files} files, {megabytes}, to {escape(backup.folder)}")
    _show_left_out(backup.left_out)
    console.print(f"restore with  {program()} backup --restore {escape(backup.folder)}")


def show_restored(restored: Restored) -> None:
    """What was put back, and what to do next."""
    console.print(
        f"restored {restored.files} files of {escape(restored.made)} in "
        f"{escape(restored.state_dir)} ({restored.unchanged} were there already)"
    )
    _show_left_out(restored.left_out)
    console.print(f"check with  {program()} audit")


def _show_left_out(sentences: tuple[str, ...]) -> None:
    for sentence in sentences:
        console.print(f"  not in it: {escape(sentence)}", soft_wrap=True)
