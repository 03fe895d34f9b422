"""Which examples a person compares."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

from tasks.core.order import order_key
from tasks.evaluate.aggregation import item_score
from tasks.evaluate.items import GENERAL, Item
from tasks.evaluate.metrics import Metric

_GENERAL_SHARE = 5  # one place of so many is for the general probe


def select(
    candidate: Sequence[Item],
    reference: Sequence[Item],
    metrics: Mapping[str, Sequence[Metric]],
    count: int,
) -> list[int]:
    """Indices of at most `count` items that both systems answered differently.

    A fifth of the places is for the general probe. Of the others half go to the items on which the
    scores of candidate and reference differ most, half to items by the hash of their id: the former
    show what changed, the latter what is usual. In both halves every group has a turn before any
    has a second one, and so has every benchmark: marks of one group are not independent, and the
    test of the marks takes them as if they were.

    Args:
        candidate: its items.
        reference: the items of the system that it is compared with, in the same order.
        metrics: those that apply, by benchmark.
        count: places.
    """
    differing = [
        i
        for i, (ours, theirs) in enumerate(zip(candidate, reference, strict=True))
        if ours.answered and theirs.answered and ours.answer != theirs.answer
    ]
    general = [i for i in differing if candidate[i].benchmark == GENERAL]
    tuned = [i for i in differing if candidate[i].benchmark != GENERAL]
    # What one part does not fill, the other may.
    probes = min(len(general), max(count // _GENERAL_SHARE, count - len(tuned)))
    by = {name: _compared_by(applied) for name, applied in metrics.items()}
    changes = {
        i: [_change(ours, reference[i], metric) for metric in by[ours.benchmark]]
        for i in differing
        for ours in [candidate[i]]
    }
    drawn = {i: order_key(f"review:{candidate[i].benchmark}:{candidate[i].id}") for i in differing}
    places = count - probes
    largest = _spread(
        sorted(tuned, key=lambda i: (changes[i], drawn[i]), reverse=True), candidate, places // 2
    )
    rest = sorted(set(tuned) - set(largest), key=lambda i: drawn[i])
    usual = _spread(rest, candidate, places - len(largest), taken=largest)
    shown = _spread(sorted(general, key=lambda i: drawn[i]), candidate, probes)
    return [*largest, *usual, *shown]


def _spread(
    preferred: Iterable[int], items: Sequence[Item], places: int, taken: Sequence[int] = ()
) -> list[int]:
    """The first by preference, each stratum in its turn.

    Args:
        preferred: indices, the best first.
        items: all of them.
        places: how many to take.
        taken: indices whose groups had their turn already.
    """
    order = list(preferred)
    for stratum in (_group, _benchmark):
        turns = Counter(stratum(items[i], i) for i in taken)
        turn = {}
        for i in order:
            turn[i] = turns[stratum(items[i], i)]
            turns[stratum(items[i], i)] += 1
        order.sort(key=lambda i: turn[i])
    return order[:places]


def _group(item: Item, i: int) -> Hashable:
    # An item without a group is a group of its own.
    return item.benchmark, i if item.group is None else item.group


def _benchmark(item: Item, _: int) -> Hashable:
    return item.benchmark


def _compared_by(metrics: Sequence[Metric]) -> list[Metric]:
    found = []
    for needs in ("answers", "losses"):
        scored = [
            metric
            for metric in metrics
            if metric.needs == needs and metric.derived_from is None and metric.direction
        ]
        found += scored[:1]
    return found


def _change(candidate: Item, reference: Item, metric: Metric) -> float:
    scores = item_score(candidate, metric), item_score(reference, metric)
    return 0.0 if scores[0] is None or scores[1] is None else abs(scores[0] - scores[1])
