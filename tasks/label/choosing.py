"""Which rows are worth an answer: from windows of traffic to a file that people fill in."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.core.order import order_key
from tasks.label import features, linear
from tasks.label.champion import Champion
from tasks.label.files import FILE_FORMS
from tasks.label.pool import Pool
from tasks.label.state import keep
from tasks.label.strategies import STRATEGIES
from tasks.label.strategies.random import REASON
from tasks.label.training import Training, training_data
from tasks.label.values import RANDOM, Batch, BatchRow, HandedOut
from tasks.label.windows import Row, Unlabelled, read_text, unlabelled
from tasks.records import BadLine
from tasks.settings import Settings

log = logging.getLogger(__name__)

_MOST_COMPARED = 5_000
"""Rows of the reference that distances are computed to."""


@dataclass(frozen=True)
class Known:
    """What is known of the model that the rows are for.

    Attributes:
        adapter: the champion's folder; None: there is no champion.
        reference: the prompts that it was trained on; None: those of `curate.inputs`.
    """

    adapter: Path | None = None
    reference: Path | None = None


@dataclass
class _Asked:
    """The champion's answers by number of the row, so that none is generated twice."""

    champion: Champion | None
    rows: Sequence[Row]
    answers: dict[int, str]

    def ask(self, numbers: Sequence[int]) -> None:
        new = [number for number in numbers if number not in self.answers]
        if self.champion and new:
            said = self.champion.answers([self.rows[number].record for number in new])
            self.answers.update(zip(new, said, strict=True))


def hand_out(
    windows: Sequence[Path], budget: int, form: str, out: Path, known: Known, settings: Settings
) -> HandedOut:
    """Write the rows of these windows that are most worth an answer to a file for people.

    A share of them (`label.random_share`) is drawn at random, the others by `label.strategy`; the
    file has them in an order that does not tell which is which. Equal arguments give an equal
    file.

    Args:
        windows: files of traffic.
        budget: rows to hand out.
        form: of the file: a name of `FILE_FORMS`.
        out: the file.
        known: the champion.
        settings: `label`, and what evaluation needs where the champion is asked.

    Raises:
        BadInput: a window cannot be read or has no row without an answer, `out` is there and is
            not what would be written, or the strategy lacks what it looks at.
    """
    if budget < 1:
        raise BadInput(f"--budget: given {budget}; allowed: a number of at least 1")
    writer = FILE_FORMS.get(form)
    found = unlabelled(windows, settings)
    if not found.rows:
        raise BadInput(_nothing_left(windows, found))
    training = training_data(settings)
    batch, notes = _choose(found.rows, budget, training, known, settings)
    more = _write(writer.write, out, batch)
    keep(batch, settings)
    if found.unreadable:
        notes.append(f"{found.unreadable} lines of these windows are no records, and left out")
    return HandedOut(
        batch=batch.key,
        file=str(out),
        more_files=tuple(map(str, more)),
        format=form,
        rows=len(batch.rows),
        as_random=batch.as_random,
        strategy=batch.strategy,
        kind=batch.kind,
        windows=tuple(map(str, windows)),
        unlabelled=len(found.rows),
        labelled=found.labelled,
        unreadable=found.unreadable,
        groups=len({row.group for row in batch.rows}),
        suggestions=sum(row.suggestion is not None for row in batch.rows),
        notes=tuple(notes),
    )


def _choose(
    rows: Sequence[Row], budget: int, training: Training, known: Known, settings: Settings
) -> tuple[Batch, list[str]]:
    options, seed = settings.label, settings.project.seed
    notes: list[str] = []
    texts = [read_text(row.record) for row in rows]
    at_random = min(len(rows), round(options.random_share * min(budget, len(rows))))
    if options.strategy == RANDOM:
        at_random = min(len(rows), budget)
    # The rows are in the order of a hash, so the first of them are a draw; another seed, another.
    order = sorted(range(len(rows)), key=lambda i: order_key(f"label {seed}\0{texts[i]}"))
    drawn, others = order[:at_random], sorted(order[at_random:])
    champion = Champion(known.adapter, settings) if known.adapter else None
    # Served traffic may have the model's answers with it.
    said = {i: row.record.target for i, row in enumerate(rows) if row.record.target}
    asked = _Asked(champion, rows, said)
    strategy = STRATEGIES.get(options.strategy)
    chosen: list[int] = []
    reasons = dict.fromkeys(drawn, REASON)
    wanted = min(budget, len(rows)) - at_random
    if wanted:
        pool = _pool([rows[i] for i in others], training, known, settings, asked, others)
        if pool.novelty is None:
            notes.append("there is no training data to compare with: novelty was left out")
        if pool.uncertainty is None:
            notes.append("there is no champion to ask: its uncertainty was left out")
        picked = strategy.choose(pool, wanted, seed)
        chosen = [others[i] for i in picked]
        reasons |= {others[i]: strategy.reason(pool, i) for i in picked}
    if budget > len(rows):
        notes.append(f"there are only {len(rows)} rows without an answer: all are handed out")
    all_rows = sorted([*drawn, *chosen], key=lambda i: order_key(f"sheet\0{texts[i]}"))
    suggestions = _suggestions(all_rows, texts, training, asked, settings)
    key = files.content_key(
        [texts[i] for i in all_rows], [str(row.window) for row in rows[:1]], training.choices,
        options.plain(), seed, sorted(suggestions.items()),
    )[:10]  # fmt: skip
    batch = Batch(
        key=key,
        kind="labels" if training.choices else "answers",
        choices=training.choices,
        as_label=training.as_label,
        strategy=options.strategy,
        rows=tuple(
            BatchRow(
                id=f"{key}-{number:04d}",
                window=str(rows[i].window),
                line=rows[i].record.line,
                prompt=texts[i],
                group=rows[i].group,
                strategy=RANDOM if i in set(drawn) else options.strategy,
                reason=reasons[i] + _often(rows[i].times),
                suggestion=suggestions.get(i),
                times=rows[i].times,
                record=_data(rows[i].record),
            )
            for number, i in enumerate(all_rows, 1)
        ),
    )
    return batch, notes


def _pool(
    rows: Sequence[Row],
    training: Training,
    known: Known,
    settings: Settings,
    asked: _Asked,
    numbers: Sequence[int],
) -> Pool:
    """What strategies look at; `numbers` are those of `rows` in `asked`."""
    texts = [read_text(row.record) for row in rows]
    reference = _reference(known, training)
    vectors, others = features.places(texts, reference, settings.project.seed)
    probabilities = losses = None
    if training.choices:
        labels = [str(label) for label in training.labels]
        choices = [str(choice) for choice in training.choices]
        if labels:
            probabilities = linear.probabilities(training.texts, labels, texts, choices)
    elif asked.champion and settings.label.asked_rows:
        # The first by a hash: any share of the rows would do.
        some = list(range(len(rows)))[: settings.label.asked_rows]
        asked.ask([numbers[i] for i in some])
        said = [asked.answers[numbers[i]] for i in some]
        measured = asked.champion.losses([rows[i].record for i in some], said)
        losses = np.full(len(rows), np.nan)
        losses[some] = [nll / tokens for nll, tokens in measured]
    return Pool(
        groups=tuple(row.group for row in rows),
        vectors=vectors,
        novelty=features.novelty(vectors, others) if len(others) else None,
        probabilities=probabilities,
        losses=losses,
    )


def _reference(known: Known, training: Training) -> list[str]:
    if known.reference is None:
        texts = list(training.texts)
    else:
        texts = [
            read_text(item)
            for item in records.read(known.reference, labelled=False)
            if not isinstance(item, BadLine)
        ]
    return sorted(set(texts), key=lambda text: order_key(f"reference\0{text}"))[:_MOST_COMPARED]


def _suggestions(
    numbers: Sequence[int],
    texts: Sequence[str],
    training: Training,
    asked: _Asked,
    settings: Settings,
) -> dict[int, str]:
    """The model's own answers by number of the row; where answers are labels, labels only."""
    if not settings.label.suggestions:
        return {}
    asked.ask(numbers)
    if not training.choices:
        return {i: asked.answers[i] for i in numbers if asked.answers.get(i, "").strip()}
    names = [str(choice) for choice in training.choices]
    by_form = {name.casefold().strip(): name for name in names}
    found = {}
    linear_ones: Any = None
    for place, i in enumerate(numbers):
        said = by_form.get(asked.answers.get(i, "").casefold().strip().removesuffix("."))
        if said is None and training.labels:
            if linear_ones is None:
                labels = [str(label) for label in training.labels]
                prompts = [texts[j] for j in numbers]
                linear_ones = linear.probabilities(training.texts, labels, prompts, names)
            said = names[int(linear_ones[place].argmax())]
        if said is not None:
            found[i] = said
    return found


def _write(write: Any, out: Path, batch: Batch) -> tuple[Path, ...]:
    """Write the file, unless one is there that may hold people's answers."""
    if not out.exists():
        more: tuple[Path, ...] = write(out, batch)
        return more
    beside = out.with_name(f".{out.name}.new{out.suffix}")
    try:
        more = write(beside, batch)
        same = beside.read_bytes() == out.read_bytes()
    finally:
        for path in (beside, *beside.parent.glob(f"{beside.stem}.*")):
            path.unlink(missing_ok=True)
    if not same:
        raise BadInput(
            f"{out}: is there already, and people may have filled it in; take it back with "
            f"`perpetune label --take {out}`, or name another file with --out"
        )
    return tuple(path.with_name(path.name.replace(beside.stem, out.stem)) for path in more)


def _data(record: records.Record) -> dict[str, Any]:
    row = record.row()
    row.pop("source"), row.pop("line")
    return row


def _often(times: int) -> str:
    return f"; came {times} times" if times > 1 else ""


def _nothing_left(windows: Sequence[Path], found: Unlabelled) -> str:
    names = ", ".join(map(str, windows)) or "no window"
    counts = Counter(labelled=found.labelled, unreadable=found.unreadable)
    return (
        f"{names}: no row waits for an answer ({counts['labelled']} have one, "
        f"{counts['unreadable']} lines are no records)"
    )
