"""Which examples the review sheet shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.order import order_key
from tasks.evaluate.aggregation import item_score
from tasks.evaluate.benchmarks import GENERAL
from tasks.evaluate.items import Item
from tasks.evaluate.metrics import Metric


@dataclass(frozen=True, slots=True)
class Section:
    """Examples under one title."""

    title: str
    about: str
    chosen: tuple[int, ...]
    """Indices of items."""


def select(
    candidate: Sequence[Item],
    reference: Sequence[Item],
    metrics: Sequence[Metric],
    count: int,
    reference_name: str,
) -> list[Section]:
    """Sections of answered examples; those without an example are left out.

    What is left of `count` after the answers to the general probe goes half to the examples on
    which the scores of candidate and reference differ most, half to others by the hash of their id:
    the former show what changed, the latter what is usual. Scores are compared by the first metric
    of answers, then by the first of losses.

    Args:
        candidate: its items.
        reference: the items of the system it is compared with, in the same order.
        metrics: the metrics that were computed.
        count: number of examples to show.
        reference_name: the reference in words.
    """
    answered = [i for i, item in enumerate(candidate) if item.answered]
    general = [i for i in answered if candidate[i].benchmark == GENERAL]
    tuned = [i for i in answered if candidate[i].benchmark != GENERAL]
    places = max(0, count - len(general))
    by = _compared_by(metrics)
    changes = {i: [_change(candidate[i], reference[i], metric) for metric in by] for i in tuned}
    by_change = sorted(tuned, key=lambda i: changes[i], reverse=True)[: places // 2]
    rest = sorted(set(tuned) - set(by_change), key=lambda i: order_key(f"review:{candidate[i].id}"))
    what = by[0].label if by else "loss"
    sections = [
        Section(
            "Largest changes",
            f"Where the candidate's {what} differs most from that of {reference_name}, up or down.",
            tuple(by_change),
        ),
        Section(
            "Random sample",
            "Chosen by the hash of their id: what is usual.",
            tuple(rest[: places - len(by_change)]),
        ),
        Section(
            "General probe",
            "What the model could do before, and should still.",
            tuple(general),
        ),
    ]
    return [section for section in sections if section.chosen]


def _compared_by(metrics: Sequence[Metric]) -> list[Metric]:
    found = []
    for needs in ("answers", "losses"):
        scored = [m for m in metrics if m.needs == needs and m.derived_from is None]
        found += scored[:1]
    return found


def _change(candidate: Item, reference: Item, metric: Metric) -> float:
    scores = item_score(candidate, metric), item_score(reference, metric)
    return 0.0 if scores[0] is None or scores[1] is None else abs(scores[0] - scores[1])
