"""Drift in a terminal."""

from typing import TYPE_CHECKING

from perpetune.render.console import console, escape, number, print_table

if TYPE_CHECKING:
    from tasks.drift import DriftResult


def show_drift(result: "DriftResult") -> None:
    """Whether there is drift, of what kind, what to do, and the tests behind it."""
    color, word = ("red", "drift") if result.drift else ("green", "no drift")
    console.print(f"[{color}]{word}[/]  p = {result.p_value:.3g}, alpha = {result.alpha:.3g}")
    for kind in result.kinds:
        console.print(f"[bold]{escape(kind.name)}[/]  {escape(kind.sentence)}")
        console.print(f"  [dim]{escape(kind.remedy)}[/]")
    rows = [
        (test.name, number(test.statistic), f"{test.p_value:.3g}", f"{test.threshold:.3g}")
        for test in result.tests
    ]
    print_table("Feature groups", ["group", "statistic", "p", "threshold"], rows)
    worth = result.effective
    console.print(
        f"rows compared: {result.rows.reference} in {worth.reference.groups} groups of the "
        f"reference, {result.rows.current} in {worth.current.groups} groups of the window "
        f"(worth {worth.current.rows:.0f} independent rows)"
    )
    if result.not_compared:
        left = "; ".join(f"{left.name} ({left.reason})" for left in result.not_compared)
        console.print(f"[dim]not compared: {escape(left)}[/]")
