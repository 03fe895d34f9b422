"""What traffic is compared with: what a version was trained on, as it came in, by regime."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.curate import redact
from tasks.drift.rows import COUNT
from tasks.drift.sample import compared_text, text_hash
from tasks.records import Record
from tasks.settings import Settings

log = logging.getLogger(__name__)

ONLY_REGIME = "reference"
SIGNALS = ("loss", "confidence", "feedback", "rating", "latency", "seconds")
"""Keys of `meta` whose numbers are kept: other numbers may be a person's."""
_TRAINING = "training"
HELD_OUT = "drift_held_out"
"""Key of `meta`: the version was not trained on this row, nor was its winner chosen by it."""
_KEY = "drift_regime"
_SPLITS = ("train", "validation", "test")
# Not what the task's traffic looks like, or what must not be kept.
_LEFT_OUT = frozenset({"replay_surplus", "personal_data"})
_MAX_BYTES = 32 * 2**20


def write_reference(curated: Path, out: Path, settings: Settings) -> Path:
    """Write the reference profile that is stored with a registered version.

    It stands for the traffic that the training data came from, so it holds what curation kept and
    what it dropped: copies, near-copies, odd answers. Traffic has them, too; compared with curated
    records alone, it would differ by what curation does. Dropped records are read again from the
    sources that the ledger names, and masked as the others are. Records that hold what must be
    dropped (`curate.privacy`) and replay, which is not of this task, are left out.

    Whole conversations are kept, with their answers, system prompts and labels, and of `meta` the
    numbers named in `SIGNALS`: what `detect` compares. Groups stay whole (records without a group:
    those with equal prompts), drawn by hash up to `drift.reference_rows` rows. Equal records of one
    group are one row with a count.

    Each kind of traffic that the version was trained on is a regime of its own: the training
    source as a whole, and every file of feedback under `curate.feedback`. A feedback file is a
    sample of a window that had drifted, so it represents the traffic of that time in its true
    proportions. A mixture of all sources, as in training, would represent traffic that never was:
    after the retraining, the traffic that caused it would raise the alarm again, round after round.
    Feedback with fewer than `drift.min_rows` prompts is too small to compare with and is left out.
    A training source as small as that is written, with a warning; `detect` refuses it.

    Args:
        curated: folder with what curation wrote: `train.jsonl` and, where they are, the other
            splits and `dropped.jsonl`.
        out: path of the JSONL file to write.
        settings: `curate`, `drift` and the project's seed.

    Returns:
        `out`. Its lines: the record's own keys, `id`, `group`, `timestamp`, `meta` with `SIGNALS`
        only, `drift_regime`, `drift_count` where it is more than 1, and `drift_held_out` on rows of
        the test split.

    Raises:
        BadInput: there is no curated training data, or no prompt in it.
    """
    options, seed = settings.drift, settings.project.seed
    replay = _inputs(settings.curate.replay.inputs)
    feedback = _inputs([settings.curate.feedback] if settings.curate.feedback else [])
    draws: dict[str, Draw] = {}
    for record in _as_it_came(curated, settings):
        source = Path(_source(record)).absolute()
        if not compared_text(record) or _within(source, replay):
            continue
        regime = _source(record) if _within(source, feedback) else _TRAINING
        draws.setdefault(regime, Draw(options.reference_rows, seed)).add(record)
    rows: list[dict[str, Any]] = []
    for name in sorted(draws, key=lambda name: (name != _TRAINING, name)):
        drawn = draws[name].rows()
        prompts = len({compared_text(record) for record in drawn})
        if prompts < options.min_rows:
            log.warning("%s: %d distinct prompts are too few to watch traffic", name, prompts)
        if prompts >= options.min_rows or name == _TRAINING:
            rows += [_row(record, name) for record in drawn]
    if not rows:
        raise BadInput(f"{curated}: no record has a prompt that traffic could be compared with")
    files.write_jsonl(out, rows)
    return out


def as_curated(found: Sequence[Record], settings: Settings) -> list[Record]:
    """Records of traffic, masked or dropped as curation does it with those of the reference."""
    return redact(found, settings.curate.privacy)[0][0]


def split_regimes(reference: Iterable[Record]) -> dict[str, list[Record]]:
    """The rows of each regime in a reference; a file of other origin is one regime."""
    regimes: dict[str, list[Record]] = {}
    for record in reference:
        regimes.setdefault(str(record.meta.get(_KEY, ONLY_REGIME)), []).append(record)
    return {name: regimes[name] for name in sorted(regimes)}


@dataclass(slots=True)
class _Group:
    """The records of a group, without its repeats."""

    seen: dict[bytes, Record] = field(default_factory=dict)
    counts: dict[bytes, int] = field(default_factory=dict)
    size: int = 0


class Draw:
    """Whole groups in the order of a hash, as many as fit; memory is bounded by what fits.

    A group that has more than a tenth of the rows is cut down to that: it would leave no room
    for others.
    """

    def __init__(self, limit: int, seed: int) -> None:
        self._limit, self._seed = limit, seed
        self._most = max(1, limit // 10)
        self._groups: dict[bytes, _Group] = {}
        self._last: bytes | None = None
        self._rows = self._bytes = 0

    def add(self, record: Record) -> None:
        """Take the record, if its group may still be drawn."""
        name = f"p:{compared_text(record)}" if record.group is None else f"g:{record.group}"
        place = text_hash(name, self._seed)
        if self._last is not None and place > self._last:
            return
        group = self._groups.setdefault(place, _Group())
        content = orjson.dumps(record.content(), option=orjson.OPT_SORT_KEYS)
        key = text_hash(content.decode(), self._seed)
        group.counts[key] = group.counts.get(key, 0) + 1
        kept = group.seen.get(key)
        if kept is not None and _place(kept) <= _place(record):
            return
        group.seen[key] = record
        if kept is None:
            self._grow(group, 1, len(content))
        if len(group.seen) > self._most:
            largest = max(group.seen)
            size = len(orjson.dumps(group.seen.pop(largest).content()))
            self._grow(group, -1, -size)
        if self._rows > 2 * self._limit or self._bytes > 2 * _MAX_BYTES:
            self._cut()

    def rows(self) -> list[Record]:
        """The drawn records, by group; the count of repeats is in their `meta`."""
        self._cut()
        rows = []
        for place in sorted(self._groups):
            group = self._groups[place]
            for key in sorted(group.seen):
                record, count = group.seen[key], group.counts[key]
                meta = record.meta | ({COUNT: count} if count > 1 else {})
                rows.append(replace(record, meta=meta))
        return rows

    def _grow(self, group: _Group, rows: int, size: int) -> None:
        group.size += size
        self._rows += rows
        self._bytes += size

    def _cut(self) -> None:
        """Forget the groups that no longer fit."""
        kept: dict[bytes, _Group] = {}
        rows = size = 0
        for place in sorted(self._groups):
            group = self._groups[place]
            rows, size = rows + len(group.seen), size + group.size
            if kept and (rows > self._limit or size > _MAX_BYTES):
                rows, size = rows - len(group.seen), size - group.size
                break
            kept[place] = group
        if len(kept) < len(self._groups):
            self._last = max(kept)
        self._groups, self._rows, self._bytes = kept, rows, size


def _as_it_came(curated: Path, settings: Settings) -> Iterator[Record]:
    """Curated records, then those that the ledger says were dropped."""
    splits = [curated / f"{name}.jsonl" for name in _SPLITS]
    there = [path for path in splits[1:] if path.is_file() and path.stat().st_size]
    for path in [splits[0], *there]:
        mark = {HELD_OUT: True} if path.stem == "test" else {}
        for record in records.load([path], labelled=False):
            yield replace(record, meta=record.meta | mark) if mark else record
    ledger = curated / "dropped.jsonl"
    lines: dict[str, set[int]] = {}
    for entry in files.read_jsonl(ledger) if ledger.is_file() else []:
        if entry["reason"] not in _LEFT_OUT:
            lines.setdefault(entry["source"], set()).add(entry["line"])
    for source, numbers in sorted(lines.items()):
        yield from as_curated(_dropped(source, numbers), settings)


def _dropped(source: str, numbers: set[int]) -> list[Record]:
    try:
        found = [
            item
            for item in records.read(Path(source), labelled=False)
            if not isinstance(item, records.BadLine) and item.line in numbers
        ]
    except BadInput as error:
        log.warning("what curation dropped is not in the drift reference: %s", error)
        return []
    return found


def _inputs(specs: Iterable[str]) -> list[Path]:
    return [Path(spec).absolute() for spec in specs]


def _within(source: Path, inputs: Sequence[Path]) -> bool:
    return any(source.is_relative_to(one) or source.match(str(one)) for one in inputs)


def _source(record: Record) -> str:
    return record.origin[0] if record.origin else record.source


def _place(record: Record) -> tuple[str, str, int]:
    return record.id, record.source, record.line


def _row(record: Record, regime: str) -> dict[str, Any]:
    row: dict[str, Any] = {"id": record.id, **record.content()}
    if record.group is not None:
        row["group"] = record.group
    if record.timestamp is not None:
        row["timestamp"] = record.timestamp
    meta = {key: value for key in SIGNALS if isinstance(value := record.meta.get(key), int | float)}
    if meta:
        row["meta"] = meta
    row |= {key: record.meta[key] for key in (COUNT, HELD_OUT) if key in record.meta}
    return row | {_KEY: regime}
