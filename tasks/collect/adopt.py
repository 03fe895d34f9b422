"""The labelled part of a drifted window becomes data: one share trains, the other judges."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks import records
from tasks.core import files
from tasks.core.errors import Refused
from tasks.records import Record
from tasks.settings import Settings

log = logging.getLogger(__name__)

# Groups differ in size: if filling up with whole groups misses the wanted share of the benchmark
# by more than this part of it, the split is by record.
_TOLERANCE = 0.25


@dataclass(frozen=True)
class Adopted:
    """What came of a window: data to train on, a benchmark, and how many records were labelled."""

    feedback: Path
    benchmark: Path
    labelled: int


def adopt_window(window: Path, data: Path, settings: Settings) -> Adopted:
    """Split a window's labelled records into feedback/NAME.jsonl and benchmarks/NAME.jsonl.

    Whole groups go to one side (records where there are too few groups for the wanted share, or
    none), in the order of a hash, so that the same window gives the same files however often it is
    adopted. Lines that are no records or have no answer are left out.

    Args:
        window: a file of traffic.
        data: the data folder; record it anew (`record`) afterwards.
        settings: `watch.heldout_share` and `watch.min_labelled` count.

    Raises:
        BadInput: the window cannot be read or holds no record.
        Refused: it holds too few labelled records.
    """
    read = list(records.read(window, labelled=False))
    labelled = [
        replace(item, source=window.name)
        for item in read
        if isinstance(item, Record) and item.target
    ]
    needed = settings.watch.min_labelled
    if len(labelled) < needed:
        raise Refused(
            f"{window}: {len(labelled)} of {len(read)} records are labelled, {needed} are needed "
            "(watch.min_labelled); add answers to the window, or wait for more traffic"
        )
    heldout = _draw_heldout(labelled, settings.watch.heldout_share)
    name = f"{_stem(window)}.jsonl"
    adopted = Adopted(data / "feedback" / name, data / "benchmarks" / name, len(labelled))
    for path, is_heldout in ((adopted.benchmark, True), (adopted.feedback, False)):
        rows = [row for row in labelled if (row.line in heldout) is is_heldout]
        rows.sort(key=lambda row: (row.id, row.line))
        files.write_jsonl(path, (_as_source(row) for row in rows))
    log.info("%s: %d labelled records, %d held out", window, len(labelled), len(heldout))
    return adopted


def _as_source(record: Record) -> dict[str, Any]:
    """The record as a line of raw data: its place of origin is now the file that it is put in."""
    row = record.row()
    origin = {"window": row.pop("source"), "window_line": row.pop("line")}
    return row | {"meta": {**record.meta, **origin}}


def _stem(window: Path) -> str:
    name = window.name
    while name.lower().endswith((*records.FORMATS, ".gz", ".zst")):
        name = name.rpartition(".")[0]
    return name


def _draw_heldout(labelled: Sequence[Record], share: float) -> set[int]:
    """Lines of the records that are held out: near `share` of them, at least one, never all."""
    wanted = min(max(1, round(share * len(labelled))), len(labelled) - 1)
    heldout: set[int] = set()
    # What belongs together: a group, else what has one id; at last, each record by itself.
    for keys in (
        [f"id {row.id}" if row.group is None else f"group {row.group}" for row in labelled],
        [f"id {row.id}" for row in labelled],
        [f"line {row.line}" for row in labelled],
    ):
        together: dict[str, list[int]] = {}
        for key, row in zip(keys, labelled, strict=True):
            together.setdefault(key, []).append(row.line)
        heldout = set()
        for key in sorted(together, key=_draw):
            if len(heldout) + len(together[key]) <= wanted:
                heldout.update(together[key])
        if len(heldout) >= (1 - _TOLERANCE) * wanted:
            break
    return heldout


def _draw(key: str) -> str:
    return hashlib.sha256(f"adopt\0{key}".encode()).hexdigest()
