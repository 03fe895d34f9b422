"""Drift in a terminal."""

from typing import Any

from perpetune.render.console import console, number, print_table


def show_drift(result: dict[str, Any]) -> None:
    """The verdict, its tests, and which words moved."""
    color = "red" if result["drift"] else "green"
    word = "drift" if result["drift"] else "no drift"
    console.print(f"[{color}]{word}[/]  p = {result['p_value']:.4g}, alpha = {result['alpha']}")
    rows = [
        (t["name"], number(t["statistic"]), number(t["p_value"]), number(t["threshold"]))
        for t in result["tests"]
    ]
    print_table("Tests", ["test", "statistic", "p", "threshold"], rows)
