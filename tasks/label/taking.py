"""Answers come back: checked, joined to the windows that their rows are from, and weighed."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks import records
from tasks.core.errors import BadInput
from tasks.label import agreement
from tasks.label.gain import compare_with_random
from tasks.label.reading import read_filled
from tasks.label.state import batch_of
from tasks.label.training import training_data
from tasks.label.values import Batch, BatchRow, Filled, Taken
from tasks.label.windows import answered, answers_so_far, labels_path, window_rows
from tasks.records import BadLine, Record
from tasks.settings import Settings

log = logging.getLogger(__name__)

_MOST_PROBLEMS = 5
Labels = dict[str, Any]
"""Answers by the id of their row."""


@dataclass
class _Counted:
    """What is in the files, checked."""

    batches: dict[str, Batch] = field(default_factory=dict)
    answers: dict[str, list[Filled]] = field(default_factory=lambda: defaultdict(list))
    empty: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def rows(self) -> dict[str, BatchRow]:
        return {row.id: row for batch in self.batches.values() for row in batch.rows}


def take(paths: Sequence[Path], settings: Settings, adapter: Path | None = None) -> Taken:
    """Check what people filled in, and keep it as answers to the windows' rows.

    An answer to a row that has one already takes its place. Of two people who answered one row
    differently neither counts where answers are labels; else the first file's answer does.

    Args:
        paths: files that were handed out, or exports of the tools that they were imported to.
        settings: `label.folder`, and where the batches are kept.
        adapter: the champion's folder, to compare its losses; None: no champion.

    Raises:
        BadInput: a row was not handed out, its prompt was changed, it is answered twice by one
            person, or an answer is none of the labels; the message names up to five places.
            Nothing is kept then.
    """
    counted = _Counted()
    for path in paths:
        for filled in read_filled(path):
            _check(filled, counted, settings)
    if counted.problems:
        shown = counted.problems[:_MOST_PROBLEMS]
        left = len(counted.problems) - len(shown)
        raise BadInput("\n".join(shown) + (f"\n… and {left} more" if left else ""))
    labels, disagreements = _settled(counted)
    rows = counted.rows()
    kept, changed, written = _keep(labels, counted, settings)
    unchanged = sum(str(answer) == rows[row].suggestion for row, answer in labels.items())
    return Taken(
        batches=tuple(sorted(counted.batches)),
        taken=len(labels),
        changed=changed,
        empty=len(counted.empty - set(labels)),
        missing=len(rows) - len(labels) - len(disagreements),
        disagreements=tuple(disagreements),
        agreement=agreement.in_words(counted.answers, counted.batches.values()),
        unchanged_suggestions=unchanged,
        windows=kept,
        files=tuple(map(str, written)),
        gain=tuple(
            difference
            for batch in counted.batches.values()
            for difference in compare_with_random(
                batch, labels, training_data(settings), settings, adapter
            )
        ),
    )


def _check(filled: Filled, counted: _Counted, settings: Settings) -> None:
    """Count one answer, or note what is wrong with it."""
    key = filled.row.partition("-")[0]
    if key not in counted.batches:
        counted.batches[key] = batch_of(key, settings, filled.place)
    batch = counted.batches[key]
    row = next((row for row in batch.rows if row.id == filled.row), None)
    if row is None:
        counted.problems.append(
            f"{filled.place}: {filled.row!r} is no row of the batch {key}; leave the column `row` "
            "as it was"
        )
        return
    if filled.prompt is not None and _folded(filled.prompt) != _folded(row.prompt):
        counted.problems.append(
            f"{filled.place}: the prompt of {row.id} was changed; restore it ({row.window}:"
            f"{row.line} has it), for the answer would belong to another one"
        )
        return
    answer = _answer(filled.answer, batch, filled, counted.problems)
    if answer is None:
        counted.empty.add(row.id)
        return
    for other in counted.answers[row.id]:
        if other.by == filled.by and _file(other) == _file(filled):
            if other.answer == answer:
                return
            counted.problems.append(
                f"{filled.place}: {row.id} is answered in another way at {other.place}, too; "
                "leave one of the two"
            )
            return
    counted.answers[row.id].append(filled.model_copy(update={"answer": answer}))


def _answer(value: Any, batch: Batch, filled: Filled, problems: list[str]) -> Any:
    """The answer as it is kept; None where there is none."""
    if value is None or (isinstance(value, str) and not value.strip()) or value in ([], {}):
        return None
    if isinstance(value, list | Mapping):
        problems.append(f"{filled.place}: {filled.row} has several answers; leave one")
        return None
    if batch.kind == "answers":
        return value.strip() if isinstance(value, str) else str(value)
    by_form = {str(choice).casefold(): choice for choice in batch.choices}
    found = by_form.get(str(value).strip().casefold())
    if found is None:
        names = ", ".join(map(str, batch.choices))
        problems.append(
            f"{filled.place}: {str(value)[:80]!r} is none of the labels ({names}); a new label: "
            "name all of them in label.choices and hand the rows out again"
        )
    return found


def _settled(counted: _Counted) -> tuple[Labels, list[str]]:
    """One answer for each row, and the rows on which people disagree."""
    labels: Labels = {}
    disagreements = []
    for row, filled in counted.answers.items():
        kind = counted.batches[row.partition("-")[0]].kind
        said = {_folded(str(one.answer)) for one in filled}
        if len(said) > 1:
            places = " and ".join(f"{str(one.answer)[:60]!r} at {one.place}" for one in filled[:3])
            disagreements.append(f"{row}: {places}")
        if filled and (len(said) == 1 or kind == "answers"):
            labels[row] = filled[0].answer
    if counted.batches and all(batch.kind == "answers" for batch in counted.batches.values()):
        disagreements = []  # free answers differ; how much is in `agreement`
    return labels, disagreements


def _keep(
    labels: Labels, counted: _Counted, settings: Settings
) -> tuple[dict[str, int], int, list[Path]]:
    """Write the answers, window by window: labelled rows of each, how many changed, and where."""
    by_window: dict[str, list[tuple[BatchRow, Batch]]] = defaultdict(list)
    for batch in counted.batches.values():
        for row in batch.rows:
            if row.id in labels:
                by_window[row.window].append((row, batch))
    changed = 0
    kept, written = {}, []
    for name, members in sorted(by_window.items()):
        window = Path(name)
        known = answers_so_far(window, settings)
        for row, batch in members:
            record = _labelled(row, batch, labels[row.id], counted.answers[row.id][0].by)
            before = known.get(row.line)
            changed += before is not None and before.target != record.target
            known[row.line] = record
        written.append(window_rows(window, list(known.values()), settings))
        kept[name] = len(known)
        log.info("%s: %d answers in %s", window, len(known), labels_path(window, settings))
    return kept, changed, written


def _labelled(row: BatchRow, batch: Batch, answer: Any, by: str) -> Record:
    record = records.parse(row.record, row.window, row.line, labelled=False)
    if isinstance(record, BadLine):
        raise BadInput(f"{row.window}:{row.line}: {record.detail}")
    label = {"batch": batch.key, "row": row.id, "strategy": row.strategy} | (
        {"by": by} if by else {}
    )
    record = replace(record, meta={**record.meta, "label": label})
    return answered(record, answer, batch.as_label)


def _folded(text: str) -> str:
    """Spreadsheets and web pages change the ends of lines and the width of spaces."""
    return " ".join(text.split())


def _file(filled: Filled) -> str:
    return filled.place.rpartition(":")[0] or filled.place
