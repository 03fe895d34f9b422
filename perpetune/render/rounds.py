"""Rounds and watched windows in a terminal, with the commands that come next."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from perpetune.render.console import console, escape, interval, print_table, program
from perpetune.render.curate import show_curated
from perpetune.render.tune import show_sweep

if TYPE_CHECKING:
    from flows.watch import Watched


def show_round(value: dict[str, Any]) -> None:
    """The whole round, and the commands that come next."""
    from tasks.evaluate import comparison

    show_curated(value["data"])
    if value["sweep"]:
        show_sweep(value["sweep"])
    verdict = value["verdict"]
    if verdict:
        rows = comparison(verdict)
        models = [m for m in ("base", "champion", "candidate") if verdict["models"].get(m)]
        print_table(
            "Champion against candidate" if "champion" in models else "Base against candidate",
            ["benchmark", "metric", *models],
            [
                (row["benchmark"], row["metric"], *(interval(row[m]) for m in models))
                for row in rows
            ],
        )
        for gate in verdict["gates"]:
            mark = "[green]passed[/]" if gate["passed"] else "[red]failed[/]"
            console.print(f"{mark}  {escape(gate['name'])}: {escape(gate['reason'])}")
    if not value["new"]:
        console.print(
            f"\nNothing has changed since version {value['version']}: nothing registered."
        )
    _next_commands(value)


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
