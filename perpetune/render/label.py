"""Rows handed out to people, and their answers, in a terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

from perpetune.render.console import console, escape, number, print_table, program, show_warnings

if TYPE_CHECKING:
    from tasks.label import Difference, HandedOut, Taken


def show_handed_out(found: "HandedOut") -> None:
    """The file, what is in it, and what comes next."""
    console.print(
        f"[bold]{found.rows} rows[/] of {found.unlabelled} without an answer, in {found.groups} "
        f"groups: {found.rows - found.as_random} by {escape(found.strategy)}, {found.as_random} "
        "at random"
    )
    show_warnings(found.notes)
    for name in (found.file, *found.more_files):
        console.print(f"  {escape(name)}", soft_wrap=True)
    if found.suggestions:
        console.print(
            f"{found.suggestions} rows have a suggested answer beside them, which is a model's and "
            "may be wrong."
        )
    console.print(
        f"Fill in `answer`, then: {program()} label --take {escape(found.file)}", soft_wrap=True
    )


def show_taken(taken: "Taken") -> None:
    """What was taken, and whether choosing was worth it."""
    console.print(
        f"[bold]{taken.taken} answers taken[/] ({taken.changed} in place of another, "
        f"{taken.empty} left empty, {taken.missing} of the rows handed out without one)"
    )
    if taken.unchanged_suggestions:
        console.print(f"{taken.unchanged_suggestions} of them are the suggestion, unchanged")
    if taken.agreement:
        console.print(escape(taken.agreement))
    show_warnings(f"people disagree: {line}" for line in taken.disagreements)
    rows = [(Path(name).name, count) for name, count in taken.windows.items()]
    print_table("Windows", ["window", "answers by now"], rows)
    for difference in taken.gain:
        _show_difference(difference)
    if taken.data_version:
        console.print(f"data/ is now {escape(taken.data_version)}")
    console.print(f"Next: {program()} watch   (a drifted window that waited for labels goes on)")


def _show_difference(found: "Difference") -> None:
    console.print(f"\n[bold]{escape(found.what)}[/]")
    if found.difference is not None:
        ends = "" if found.low is None else f" [{number(found.low)}, {number(found.high)}]"
        console.print(
            f"  chosen {number(found.chosen)}, random {number(found.random)}, difference "
            f"{number(found.difference)}{ends} ({found.clusters} groups)",
            markup=False,
        )
    console.print(f"  {escape(found.sentence)}")
