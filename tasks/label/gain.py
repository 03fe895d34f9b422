"""Was it worth choosing? The chosen rows beside the random ones, by the answers that came back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tasks import records
from tasks.core.errors import BadInput, PerpetuneError, first_line
from tasks.core.order import order_key
from tasks.evaluate import estimate, sample
from tasks.label import linear
from tasks.label.champion import Champion
from tasks.label.pool import Floats
from tasks.label.training import Training
from tasks.label.values import RANDOM, Batch, BatchRow, Difference
from tasks.records import BadLine
from tasks.settings import Settings

_FOLDS = 5
_DRAWS = 5
_MOST_TRAINED_ON = 2_000


def compare_with_random(
    batch: Batch,
    labels: Mapping[str, Any],
    training: Training,
    settings: Settings,
    adapter: Path | None,
) -> list[Difference]:
    """What the answers say on the chosen rows of a batch, compared with its random ones.

    Args:
        batch: the rows that were handed out.
        labels: answers by row.
        training: what a linear model knows before.
        settings: `evaluate.confidence`, and what the champion needs.
        adapter: the champion's folder, if there is one.
    """
    rows = [row for row in batch.rows if row.id in labels]
    found = []
    if batch.kind == "labels":
        found.append(_learned(batch, rows, labels, training, settings))
    found.append(_hardness(rows, labels, settings, adapter))
    return found


def _learned(
    batch: Batch,
    rows: Sequence[BatchRow],
    labels: Mapping[str, Any],
    training: Training,
    settings: Settings,
) -> Difference:
    """A linear model that learns chosen rows beside one that learns as many random ones.

    Both also learn the training data. Each random row is judged by models that learned no row of
    its group (cross-fitting in five folds of groups); random rows are an unbiased sample of the
    windows, so the mean is what all of their rows would show. The figure is −log p of the label.
    """
    what = (
        "−log p of the label on rows drawn at random, by a linear model that learned as many "
        "chosen rows or random rows besides the training data (nats)"
    )
    drawn = [row for row in rows if row.strategy == RANDOM]
    chosen = [row for row in rows if row.strategy != RANDOM]
    if not chosen or len({row.group for row in drawn}) < _FOLDS:
        return _undecided(
            what,
            len({row.group for row in drawn}),
            f"{len(drawn)} answered random rows in {len({row.group for row in drawn})} groups are "
            "too few to say what choosing gains: raise --budget or label.random_share",
        )
    names = [str(choice) for choice in batch.choices]
    known = [
        (text, str(label)) for text, label in zip(training.texts, training.labels, strict=True)
    ]
    # Of answers that were taken before, some may have become training data since.
    own = {row.prompt for row in rows}
    known = [pair for pair in known if pair[1] in names and pair[0] not in own][:_MOST_TRAINED_ON]
    losses: list[tuple[str, float, float]] = []
    for fold in _folds(drawn):
        groups = {row.group for row in fold}
        others = [row for row in drawn if row.group not in groups]
        apart = [row for row in chosen if row.group not in groups]
        count = min(len(others), len(apart))
        if not count:
            continue
        pair = [
            np.mean(
                [_losses(known, part, fold, labels, names) for part in _parts(members, count)],
                axis=0,
            )
            for members in (apart, others)
        ]
        losses += [(row.group, *map(float, two)) for row, *two in zip(fold, *pair, strict=True)]
    if not losses:
        return _undecided(
            what, 0, "chosen and random rows are of the same groups: nothing to judge"
        )
    sums = [[after - before, 1.0] for _, after, before in losses]
    found = _difference(what, sums, [group for group, _, _ in losses], settings)
    return found.model_copy(
        update={
            "chosen": float(np.mean([loss for _, loss, _ in losses])),
            "random": float(np.mean([loss for *_, loss in losses])),
            "sentence": _gain_in_words(found),
        }
    )


def _hardness(
    rows: Sequence[BatchRow],
    labels: Mapping[str, Any],
    settings: Settings,
    adapter: Path | None,
) -> Difference:
    """The champion's loss on the answers that people gave: chosen rows beside random ones."""
    what = "the champion's loss on people's answers (nats a token)"
    if adapter is None:
        return _undecided(what, 0, "there is no champion whose losses could be compared")
    arms = [float(row.strategy == RANDOM) for row in rows]
    if not 0 < sum(arms) < len(rows):
        return _undecided(
            what, 0, "there are no answered random rows beside chosen ones: nothing to compare"
        )
    parsed = [records.parse(row.record, row.window, row.line, labelled=False) for row in rows]
    kept = [record for record in parsed if not isinstance(record, BadLine)]
    try:
        losses = Champion(adapter, settings).losses(kept, [str(labels[row.id]) for row in rows])
    except (BadInput, PerpetuneError) as error:
        return _undecided(what, 0, f"the champion could not be asked: {first_line(error)}")
    sums = [
        [nll * (1 - arm), tokens * (1 - arm), nll * arm, tokens * arm]
        for (nll, tokens), arm in zip(losses, arms, strict=True)
    ]
    found = _difference(what, sums, [row.group for row in rows], settings, _two_ratios)
    totals = np.sum(sums, axis=0)
    return found.model_copy(
        update={
            "chosen": float(totals[0] / totals[1]),
            "random": float(totals[2] / totals[3]),
            "sentence": _hardness_in_words(found),
        }
    )


def _two_ratios(totals: Floats) -> Floats:
    """Chosen less random; shape (…, 4) → (…)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(totals[..., 0] / totals[..., 1] - totals[..., 2] / totals[..., 3])


def _difference(
    what: str,
    sums: Sequence[Sequence[float]],
    groups: Sequence[str],
    settings: Settings,
    figure: Any = None,
) -> Difference:
    """A difference with its interval over groups; undecided where there are too few."""
    part = sample(np.asarray(sums), list(groups))
    found = estimate([part], figure) if figure else estimate([part])
    confidence = settings.evaluate.confidence
    if not found.enough or not found.known:
        return Difference(what=what, difference=found.value, clusters=found.clusters, sentence="")
    ends = found.interval(confidence)
    return Difference(
        what=what,
        difference=found.value,
        low=ends.low,
        high=ends.high,
        clusters=found.clusters,
        decided=not ends.low <= 0 <= ends.high,
        sentence="",
    )


def _gain_in_words(found: Difference) -> str:
    if found.low is None:
        return f"{found.clusters} groups are too few to say what choosing gains"
    if not found.decided:
        return "whether choosing taught more than drawing at random is not decided by these answers"
    better = (found.difference or 0) < 0
    word = "more" if better else "LESS"
    return f"the chosen rows taught {word} than as many random ones" + (
        "" if better else ": set label.strategy=random"
    )


def _hardness_in_words(found: Difference) -> str:
    if found.low is None:
        return f"{found.clusters} groups are too few to say whether the chosen rows are harder"
    if not found.decided:
        return "whether the chosen rows are harder for the champion is not decided"
    harder = (found.difference or 0) > 0
    return (
        "the chosen rows are harder for the champion than random ones, so it has more to learn "
        "there (what that gains, only training shows)"
        if harder
        else "the chosen rows are EASIER for the champion than random ones: label.strategy=random "
        "would do better"
    )


def _undecided(what: str, clusters: int, sentence: str) -> Difference:
    return Difference(what=what, clusters=clusters, sentence=sentence)


def _folds(rows: Sequence[BatchRow]) -> list[list[BatchRow]]:
    """Whole groups in five parts, in the order of a hash."""
    groups = sorted({row.group for row in rows}, key=lambda group: order_key(f"fold\0{group}"))
    place = {group: number % _FOLDS for number, group in enumerate(groups)}
    return [[row for row in rows if place[row.group] == fold] for fold in range(_FOLDS)]


def _parts(rows: Sequence[BatchRow], count: int) -> list[list[BatchRow]]:
    """Up to five samples of `count` rows that overlap as little as can be."""
    order = sorted(rows, key=lambda row: order_key(f"part\0{row.id}"))
    draws = min(_DRAWS, max(1, len(order) // count))
    return [order[number * count : (number + 1) * count] for number in range(draws)]


def _losses(
    known: Sequence[tuple[str, str]],
    learned: Sequence[BatchRow],
    judged: Sequence[BatchRow],
    labels: Mapping[str, Any],
    names: Sequence[str],
) -> Floats:
    texts = [text for text, _ in known] + [row.prompt for row in learned]
    said = [label for _, label in known] + [str(labels[row.id]) for row in learned]
    found = linear.probabilities(texts, said, [row.prompt for row in judged], names)
    right = [names.index(str(labels[row.id])) for row in judged]
    return np.asarray(-np.log(found[np.arange(len(judged)), right]))
