"""Collected and curated data in a terminal."""

from typing import Any

from perpetune.render.console import console, escape, print_table, program, share
from tasks.collect import Collected


def show_collected(collected: Collected) -> None:
    """What is in the data folder now."""
    for name in collected.files:
        console.print(escape(f"{collected.folder}/{name}"))
    if collected.recorded:
        version, pointer = str(collected.version), f"{collected.folder}.dvc"
        console.print(f"version [bold]{escape(version)}[/] ({escape(pointer)})")
    else:
        console.print(f"not in {escape(collected.folder)}.dvc yet: {program()} collect --record")


def show_curated(report: dict[str, Any]) -> None:
    """The ledger in short: what came in, what was kept, what was dropped and why."""
    kept = report["kept"]
    rows = [("in", report["in"], "")]
    rows += [(f"kept: {split}", count, share(count, report["in"])) for split, count in kept.items()]
    rows += [
        (f"dropped: {reason}", count, share(count, report["in"]))
        for reason, count in sorted(report["dropped"].items(), key=lambda item: -item[1])
    ]
    print_table("Data", ["records", "count", "share"], rows)
    for sentence in report.get("alarms", []):
        console.print(f"[yellow]warning[/] {escape(str(sentence))}")
    for sentence in report.get("remarks", []):
        console.print(f"[dim]remark[/] {escape(str(sentence))}")
