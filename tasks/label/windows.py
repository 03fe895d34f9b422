"""The unlabelled rows of windows of traffic, and the answers that people have given them."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.core.order import order_key
from tasks.records import BadLine, Chat, Labelled, Record, Text, Turn
from tasks.records.record import TEXT_ROLE
from tasks.settings import Settings

log = logging.getLogger(__name__)

MOST_ROWS = 20_000
"""Rows that are chosen from; of more, so many are drawn by a hash."""
ANSWERED_BY = "answered_by"
"""Key of a line of traffic, and of its `meta`, that says whose its answer is."""
_PLACE = ("window", "window_line")
"""Keys of an answered row's `meta` that say which row of which window it is."""


@dataclass(frozen=True)
class Row:
    """A row that may be handed out."""

    window: Path
    record: Record
    times: int
    """How often its text came in these windows."""

    @property
    def group(self) -> str:
        """Rows of one group are not independent; one without a group stands for itself."""
        if self.record.group is not None:
            return f"group {self.record.group}"
        return f"row {self.window.name}:{self.record.line}"


@dataclass(frozen=True)
class Unlabelled:
    """The rows of some windows without an answer, and what else was in them."""

    rows: tuple[Row, ...]
    labelled: int
    """Rows that have an answer already."""
    unreadable: int
    """Lines that are no records."""


def unlabelled(windows: Sequence[Path], settings: Settings) -> Unlabelled:
    """The rows that wait for an answer, the first of each text, in the order of a hash.

    Raises:
        BadInput: a window cannot be read.
    """
    first: dict[str, Row] = {}
    labelled = unreadable = 0
    for window in windows:
        for item in with_labels(window, settings):
            if isinstance(item, BadLine):
                unreadable += 1
            elif is_labelled(item):
                labelled += 1
            elif text := read_text(item):
                known = first.get(text)
                first[text] = (
                    replace(known, times=known.times + 1) if known else Row(window, item, 1)
                )
    rows = sorted(first.items(), key=lambda pair: order_key(f"label\0{pair[0]}"))[:MOST_ROWS]
    return Unlabelled(tuple(row for _, row in rows), labelled, unreadable)


def with_labels(window: Path, settings: Settings) -> Iterator[Record | BadLine]:
    """The records of a window, those that people answered with their answer.

    As `records.read(window, labelled=False)` where nobody has answered. An answer belongs to a line
    and its text: where the line says something else by now, it is passed over. `meta["label"]` of
    an answered record says in which batch it was, and who answered.

    Raises:
        BadInput: the window cannot be read.
    """
    remote = isinstance(window, records.RemotePath)
    path = None if remote and not settings.label.folder else labels_path(window, settings)
    answers: dict[int, Record] = {}
    if path is not None and path.is_file():
        for item in records.read(path, labelled=False):
            if isinstance(item, Record) and isinstance(item.meta.get("window_line"), int):
                answers[item.meta["window_line"]] = item
    for item in records.read(window, labelled=False):
        known = isinstance(item, BadLine) or is_labelled(item)
        answer = None if known else answers.get(item.line)
        if answer is None or isinstance(item, BadLine):
            yield item
        elif read_text(answer) != read_text(item):
            log.warning("%s:%d: was answered with another text; left out", window, item.line)
            yield item
        else:
            meta = {**_without_model(item.meta), "label": answer.meta.get("label")}
            yield replace(
                answer, source=item.source, line=item.line, origin=item.origin, id=item.id,
                group=item.group, timestamp=item.timestamp, meta=meta,
            )  # fmt: skip


def is_labelled(record: Record) -> bool:
    """Whether a record has an answer to learn from: one that the served model itself has given
    (`answered_by: model`) and nobody has confirmed is none."""
    return bool(record.target) and record.meta.get(ANSWERED_BY) != "model"


def labels_path(window: Path, settings: Settings) -> Path:
    """Where the answers to a window's rows are kept: by its name, with the folders that it is in
    below the traffic."""
    traffic = Path(settings.watch.traffic).absolute()
    folders = Path()
    if not isinstance(window, records.RemotePath) and window.absolute().is_relative_to(traffic):
        folders = window.absolute().relative_to(traffic).parent
    return labels_folder(settings) / folders / f"{_stem(window)}.jsonl"


def labels_folder(settings: Settings) -> Path:
    """`label.folder`, or else the folder `labels` beside the traffic.

    Raises:
        BadInput: the traffic is elsewhere than on this machine, and no folder is named.
    """
    if settings.label.folder is not None:
        return Path(settings.label.folder)
    traffic = records.sources.locate(settings.watch.traffic)
    if isinstance(traffic, records.RemotePath):
        raise BadInput(
            f"label.folder: null, and the traffic is at {traffic}: name a folder for the answers "
            "that people give, such as data/labels"
        )
    return traffic.with_name("labels")


def read_text(record: Record) -> str:
    """What a person reads before the answer: all turns with their roles, or the one turn."""
    turns = record.turns
    if isinstance(record, Labelled) and turns[0].role == TEXT_ROLE:
        return turns[0].content
    if record.target is not None:
        turns = turns[:-1]
    if len(turns) == 1:
        return turns[0].text
    return "\n\n".join(f"{turn.role}: {turn.text}" for turn in turns)


def answered(record: Record, answer: Any, as_label: bool) -> Record:
    """The record with an answer: a turn of the assistant, or the label of a text.

    Args:
        record: without an answer, or with one of the model's, which is replaced.
        answer: what was answered.
        as_label: whether a text gets a label; else it becomes what a user asks.
    """
    place = {
        name: getattr(record, name)
        for name in ("id", "source", "line", "group", "timestamp", "origin")
    }
    place["meta"] = _without_model(record.meta)
    if isinstance(record, Text):
        if as_label:
            return Labelled(**place, turns=record.turns, label=answer)
        turns: tuple[Turn, ...] = (Turn("user", record.text),)
    else:
        turns = record.turns if record.target is None else record.turns[:-1]
    said = Turn("assistant", str(answer))
    return Chat(**place, turns=(*turns, said), tools=record.tools)


def window_rows(window: Path, rows: Sequence[Record], settings: Settings) -> Path:
    """Write the answers to a window's rows, in the order of its lines."""
    path = labels_path(window, settings)
    written = []
    for record in sorted(rows, key=lambda record: record.line):
        row = record.row()
        row.pop("source"), row.pop("line")
        row["meta"] = {**record.meta, "window": window.name, "window_line": record.line}
        written.append(row)
    files.write_jsonl(path, written)
    return path


def answers_so_far(window: Path, settings: Settings) -> dict[int, Record]:
    """The answered rows of a window by line, as `window_rows` wrote them."""
    path = labels_path(window, settings)
    if not path.is_file():
        return {}
    found = {}
    for item in records.read(path, labelled=False):
        if isinstance(item, BadLine):
            raise BadInput(f"{path}:{item.line}: {item.detail}; correct the line or remove it")
        line = item.meta.get("window_line")
        if isinstance(line, int):
            meta = {name: item.meta[name] for name in item.meta if name not in _PLACE}
            found[line] = replace(item, line=line, meta=meta)
    return found


def _without_model(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a row carries, but that its answer is the model's."""
    return {name: meta[name] for name in meta if name != ANSWERED_BY}


def _stem(window: Path) -> str:
    name = window.name
    while name.lower().endswith((*records.SUFFIXES, *records.sources.COMPRESSED)):
        name = name.rpartition(".")[0]
    return name
