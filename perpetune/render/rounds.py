"""Rounds and watched windows in a terminal, with the commands that come next."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from perpetune.render.console import console, escape, interval, print_table, program
from perpetune.render.curate import show_curated
from perpetune.render.tune import show_sweep

if TYPE_CHECKING:
    from flows.watch import Watched
    from tasks.evaluate import Verdict


def show_round(value: dict[str, Any]) -> None:
    """The whole round, and the commands that come next."""
    show_curated(value["data"])
    if value["sweep"]:
        show_sweep(value["sweep"])
    if value["verdict"]:
        from tasks.evaluate import Verdict

        _show_verdict(Verdict.from_json(value["verdict"]))
    if not value["new"]:
        console.print(
            f"\nNothing has changed since version {value['version']}: nothing registered."
        )
    _next_commands(value)


def _show_verdict(verdict: "Verdict") -> None:
    from tasks.evaluate import comparison_table

    systems = list(verdict.models)
    print_table(
        f"{verdict.reference.capitalize()} against candidate",
        ["benchmark", "metric", *systems],
        [
            (row.benchmark, row.metric, *(interval(row.scores[name]) for name in systems))
            for row in comparison_table(verdict)
        ],
    )
    for gate in verdict.gates:
        color = "green" if gate.passed else "red"
        console.print(f"[{color}]{gate.outcome}[/]  {escape(gate.name)}: {escape(gate.reason)}")


def show_watch(watched: "Watched") -> None:
    """The windows, and the round that drift started."""
    rows = [
        (
            Path(window.window).name,
            window.rows.current,
            f"{window.p_value:.4g}",
            "DRIFT" if window.drift else "no drift",
            window.report,
        )
        for window in watched.windows
    ]
    print_table("Windows", ["window", "rows", "p", "result", "report"], rows)
    if watched.retrain:
        show_round(watched.retrain)


def _next_commands(value: dict[str, Any]) -> None:
    status, version, me = value["status"], value["version"], program()
    waiting = [item["version"] for item in status["pending"]]
    console.print()
    if version in waiting:
        console.print(f"[bold]Version {version} of {status['model']} waits for your decision.[/]")
    elif status["champion"] == version:
        console.print(f"[bold]Version {version} of {status['model']} is the champion.[/]")
    else:
        console.print(
            f"[bold]Version {version} of {status['model']} did not become a candidate.[/]"
        )
    review = Path(value["folder"]) / "judge" / "review.html"
    console.print(f"  look       {escape(str(review))}   or   {me} up", soft_wrap=True)
    console.print(f"  approve    {me} approve {version} --by NAME", soft_wrap=True)
    console.print(f"  roll back  {me} rollback --by NAME", soft_wrap=True)
    console.print(f"[dim]{value['seconds']:.0f} s[/]")
