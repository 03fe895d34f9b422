"""The labelled part of a drifted window becomes data: one share trains, the rest is a benchmark."""

import glob
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput, Refused
from tasks.core.order import order_key
from tasks.label import is_labelled, with_labels
from tasks.records import Record, RemotePath
from tasks.records.sources import locate
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


def adopt_window(
    window: Path | Sequence[Path], settings: Settings, name: str | None = None
) -> Adopted:
    """Split labelled records of drifted traffic into a file of feedback and a benchmark.

    They go where later steps look for them: into the folder `curate.feedback`, and into the first
    folder of `evaluate.benchmarks`, `NAME.jsonl` each. Whole groups go to one side (records where
    there are too few groups for the wanted share, or none), in the order of a hash, so that the
    same traffic gives the same files however often it is adopted. Lines that are no records or have
    no answer are left out.

    Args:
        window: a file of traffic or a folder of such files, or several of them.
        settings: the folders, `watch.heldout_share` and `watch.min_labelled`.
        name: of the files; by default that of the window.

    Raises:
        BadInput: the window cannot be read or holds no record, or the settings name no folder.
        Refused: it holds too few labelled records.
    """
    windows = [window] if isinstance(window, Path) else list(window)
    name = f"{_stem(windows[-1]) if name is None else name}.jsonl"
    feedback, benchmark = _feedback_folder(settings) / name, _benchmark_folder(settings) / name
    items = [item for path in windows for item in _read(path, settings)]
    labelled = [item for item in items if item is not None and is_labelled(item)]
    needed = settings.watch.min_labelled
    if len(labelled) < needed:
        raise Refused(
            f"{', '.join(map(str, windows))}: {len(labelled)} of {len(items)} records are "
            f"labelled, {needed} are needed (watch.min_labelled); `perpetune label --budget N` "
            "chooses rows for people to answer"
        )
    heldout = _draw_heldout(labelled, settings.watch.heldout_share)
    for path, is_heldout in ((benchmark, True), (feedback, False)):
        rows = [record for record in labelled if (_place(record) in heldout) is is_heldout]
        rows.sort(key=lambda record: (record.id, record.source, record.line))
        files.write_jsonl(path, (_raw_row(record) for record in rows))
    log.info("%s: %d labelled records, %d held out", name, len(labelled), len(heldout))
    return Adopted(feedback, benchmark, len(labelled))


def count_labelled(window: Path, settings: Settings) -> int:
    """The number of a window's records with an answer, those that people gave included; 0 of one
    that cannot be read."""
    try:
        return sum(item is not None and is_labelled(item) for item in _read(window, settings))
    except BadInput:
        return 0


def _read(window: Path, settings: Settings) -> Iterator[Record | None]:
    """The records of a window, each with the file that it is in; None for a line that is none."""
    for path in records.expand([window]):
        source = path.name if path == window else f"{window.name}/{path.name}"
        for item in with_labels(path, settings):
            yield replace(item, source=source) if isinstance(item, Record) else None


def _place(record: Record) -> tuple[str, int]:
    return record.source, record.line


def newest_labelled(settings: Settings) -> Path | None:
    """The newest window of `watch.traffic` that has labels and did not join the data; None where
    there is none.

    The newest is the last by name. A window that cannot be read is passed over.
    """
    try:
        windows = records.expand([settings.watch.traffic])
    except BadInput:
        return None  # no traffic yet
    return next((window for window in reversed(windows) if _is_labelled(window, settings)), None)


def _is_labelled(window: Path, settings: Settings) -> bool:
    if settings.curate.feedback is not None:
        adopted = Path(settings.curate.feedback) / f"{_stem(window)}.jsonl"
        if adopted.exists():
            return False
    try:
        return any(
            isinstance(item, Record) and is_labelled(item) for item in with_labels(window, settings)
        )
    except BadInput as error:
        log.info("%s: passed over: %s", window, error)
        return False


def _feedback_folder(settings: Settings) -> Path:
    if settings.curate.feedback is None:
        raise BadInput(
            "curate.feedback is null, so there is no folder for labelled traffic: name one, such "
            "as data/feedback"
        )
    return Path(settings.curate.feedback)


def _benchmark_folder(settings: Settings) -> Path:
    """That of `watch.benchmarks`, or the first benchmark that is a folder, or may become one."""
    if settings.watch.benchmarks is not None:
        return Path(settings.watch.benchmarks)
    for name in settings.evaluate.benchmarks:
        path = locate(name)
        remote = isinstance(path, RemotePath)
        if path.is_dir() or not (remote or path.suffix or glob.has_magic(name)):
            return path
    raise BadInput(
        "evaluate.benchmarks names no folder, where a benchmark of labelled traffic can be put: "
        "add one, such as data/benchmarks"
    )


def _raw_row(record: Record) -> dict[str, Any]:
    """The record as a line of raw data: its place of origin is now the file that it is put in."""
    row = record.row()
    origin = {"window": row.pop("source"), "window_line": row.pop("line")}
    return row | {"meta": {**record.meta, **origin}}


def _stem(window: Path) -> str:
    name = window.name
    while name.lower().endswith((*records.SUFFIXES, ".gz", ".zst")):
        name = name.rpartition(".")[0]
    return name


def _draw_heldout(labelled: Sequence[Record], share: float) -> set[tuple[str, int]]:
    """Places of the records that are held out: near `share` of them, at least one, never all."""
    wanted = min(max(1, round(share * len(labelled))), len(labelled) - 1)
    heldout: set[tuple[str, int]] = set()
    # What belongs together: a group, else what has one id; at last, each record by itself.
    for keys in (
        [f"id {row.id}" if row.group is None else f"group {row.group}" for row in labelled],
        [f"id {row.id}" for row in labelled],
        [f"line {row.line} {row.source}" for row in labelled],
    ):
        together: dict[str, list[tuple[str, int]]] = {}
        for key, record in zip(keys, labelled, strict=True):
            together.setdefault(key, []).append(_place(record))
        heldout = set()
        for key in sorted(together, key=_order):
            if len(heldout) + len(together[key]) <= wanted:
                heldout.update(together[key])
        if len(heldout) >= (1 - _TOLERANCE) * wanted:
            break
    return heldout


def _order(key: str) -> bytes:
    # A window that is adopted again is split as before as long as this hash stays.
    return order_key(f"adopt\0{key}")
