"""Rounds and watched windows in a terminal, with the commands that come next."""

from pathlib import Path
from typing import TYPE_CHECKING

from perpetune.render.console import (
    command_line,
    console,
    escape,
    number,
    print_table,
    program,
)
from perpetune.render.curate import show_counts
from perpetune.render.evaluate import show_verdict
from perpetune.render.tune import show_sweep

if TYPE_CHECKING:
    from flows.results import Round, Watched


def show_round(result: "Round") -> None:
    """The whole round, and the commands that come next."""
    show_counts(result.data)
    if result.sweep:
        show_sweep(result.sweep)
    if result.verdict:
        show_verdict(result.verdict)
    if not result.new:
        console.print(f"\nNothing has changed since version {result.version}: nothing registered.")
    _next_commands(result)


def show_watch(watched: "Watched") -> None:
    """The windows, the alarm, what is asked of people, and the round that drift started."""
    rows = [
        (
            Path(check.window).name,
            number(check.rows.current) if check.rows else "",
            "" if check.p_value is None else f"{check.p_value:.3g}",
            "" if check.alpha is None else f"{check.alpha:.3g}",
            "DRIFT" if check.drift else check.status,
            check.report or "",
        )
        for check in watched.windows
    ]
    if rows:
        print_table("Windows", ["window", "rows", "p", "threshold", "result", "report"], rows)
    elif watched.champion is not None:
        console.print(f"No window that version {watched.champion} was not compared with yet.")
    for check in watched.windows:
        if check.status == "undecidable":
            console.print(f"{escape(Path(check.window).name)}: {escape(check.why)}")
        if check.bad_lines:
            more = f" and {check.bad_lines - 1} more" if check.bad_lines > 1 else ""
            console.print(f"  left out: {escape(check.first_bad or '')}{more}")
    if watched.alarm:
        told = "a round was started" if watched.told else "no round was started by this watch"
        console.print(f"[red]Alarm[/] {escape(watched.alarm.reason)}: {told}")
    for note in watched.notes:
        console.print(escape(note))
    if watched.retrain:
        show_round(watched.retrain)


def _next_commands(result: "Round") -> None:
    status, version = result.status, result.version
    if version in [pending.version for pending in status.pending]:
        sentence = f"Version {version} of {status.model} waits for your decision."
    elif version == status.champion:
        sentence = f"Version {version} of {status.model} is the champion."
    else:
        sentence = f"Version {version} of {status.model} did not become a candidate."
    console.print(f"\n[bold]{escape(sentence)}[/]")
    review = Path(result.folder) / "evaluate" / "review.html"
    console.print(f"  look       {escape(str(review))}", soft_wrap=True)
    if result.links.form:
        console.print(f"             {escape(result.links.review)}", soft_wrap=True)
        console.print(f"             {escape(result.links.version)}", soft_wrap=True)
        console.print(f"  decide     {escape(result.links.form)}", soft_wrap=True)
    else:
        up = f"{program()} up   opens the form and MLflow's pages"
        console.print(f"             {up}", soft_wrap=True)
    marks, approve = f"review {version} --marks FILE --by NAME", f"approve {version} --by NAME"
    console.print(f"  review     {command_line(marks)}", soft_wrap=True)
    console.print(f"  approve    {command_line(approve)}", soft_wrap=True)
    console.print(f"  roll back  {command_line('rollback --by NAME')}", soft_wrap=True)
    console.print(f"[dim]{result.seconds:.0f} s[/]")
