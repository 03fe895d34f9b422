"""Collected and curated data in a terminal."""

from typing import TYPE_CHECKING

from perpetune.render.console import console, escape, print_table, program, share
from tasks.collect import Collected

if TYPE_CHECKING:
    from tasks.curate import CurationCounts, CurationReport


def show_collected(collected: Collected) -> None:
    """What is in the data folder now."""
    for name in collected.files:
        console.print(escape(f"{collected.folder}/{name}"))
    if collected.recorded:
        version, pointer = str(collected.version), f"{collected.folder}.dvc"
        console.print(f"version [bold]{escape(version)}[/] ({escape(pointer)})")
    else:
        console.print(f"not in {escape(collected.folder)}.dvc yet: {program()} collect --record")


def show_curated(report: "CurationReport") -> None:
    """The ledger in short, and what to know about the data."""
    show_counts(report.counts)
    for sentence in report.alarms:
        console.print(f"[yellow]warning[/] {escape(sentence)}")
    for sentence in report.remarks:
        console.print(f"[dim]remark[/] {escape(sentence)}")


def show_counts(counts: "CurationCounts") -> None:
    """What came in, what was kept, what was dropped and why."""
    total = counts.before
    rows = [("in", total, "")]
    rows += [(f"kept: {split}", count, share(count, total)) for split, count in counts.kept.items()]
    rows += [
        (f"dropped: {reason}", count, share(count, total))
        for reason, count in sorted(counts.dropped.items(), key=lambda item: -item[1])
    ]
    print_table("Data", ["records", "count", "share"], rows)
