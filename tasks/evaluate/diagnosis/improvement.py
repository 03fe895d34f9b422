"""How far the answers of the candidate are better than those of the reference, metric by metric."""

import math
from collections.abc import Iterator

from tasks.evaluate.aggregation import applying, item_score
from tasks.evaluate.diagnosis.contract import Seen
from tasks.evaluate.diagnosis.estimate import Estimate, mean
from tasks.evaluate.items import Item
from tasks.evaluate.metrics import Metric, selected

_SMALLEST = 0.01


def improvements(seen: Seen, aspect: str) -> dict[str, Estimate]:
    """By label of the metric: the mean paired improvement over the items of all benchmarks.

    A score that is best at 1 (a ratio of lengths) improves by coming nearer to it, as a logarithm.

    Args:
        seen: the items.
        aspect: of the metrics, `content` or `form`; those that need answers count.
    """
    changes: dict[str, list[tuple[float, str | None]]] = {}
    for metric, ours, theirs in _pairs(seen, aspect):
        scores = _quality(ours, metric), _quality(theirs, metric)
        if scores[0] is not None and scores[1] is not None:
            changes.setdefault(metric.label, []).append((scores[0] - scores[1], ours.group))
    found = {
        label: mean([change for change, _ in known], [group for _, group in known])
        for label, known in changes.items()
    }
    return {label: estimate for label, estimate in found.items() if estimate is not None}


def _pairs(seen: Seen, aspect: str) -> Iterator[tuple[Metric, Item, Item]]:
    asked = [
        metric
        for metric in selected(seen.measured.settings.evaluate.metrics)
        if metric.needs == "answers" and metric.aspect == aspect and metric.derived_from is None
    ]
    for benchmark in seen.measured.benchmarks:
        pairs = seen.pairs([benchmark], answered=True)
        for metric in applying([ours for ours, _ in pairs], asked):
            yield from ((metric, ours, theirs) for ours, theirs in pairs)


def _quality(item: Item, metric: Metric) -> float | None:
    """The score, with a sign that makes more better."""
    score = item_score(item, metric)
    if score is None or metric.direction:
        return None if score is None else metric.direction * score
    return -abs(math.log(max(score, _SMALLEST)))
