"""Drift in a terminal."""

from typing import TYPE_CHECKING

from perpetune.render.console import console, number, print_table

if TYPE_CHECKING:
    from tasks.drift import DriftResult


def show_drift(result: "DriftResult") -> None:
    """Whether there is drift, and the tests behind it."""
    color, word = ("red", "drift") if result.drift else ("green", "no drift")
    console.print(f"[{color}]{word}[/]  p = {result.p_value:.4g}, alpha = {result.alpha}")
    rows = [
        (test.name, number(test.statistic), number(test.p_value), number(test.threshold))
        for test in result.tests
    ]
    print_table("Tests", ["test", "statistic", "p", "threshold"], rows)
