"""How far two people agree who answered the same rows."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from tasks.label.values import Batch, Filled


def in_words(answers: Mapping[str, Sequence[Filled]], batches: Iterable[Batch]) -> str:
    """A sentence on the two people who share most rows; empty where nobody shares any.

    Where answers are labels it has Cohen's κ (Cohen 1960, "A coefficient of agreement for nominal
    scales"): agreement beyond what chance gives, from 0 to 1. For free answers it has their mean
    ROUGE-L.
    """
    kinds = {batch.key: batch.kind for batch in batches}
    shared: dict[tuple[str, str, str], list[tuple[Any, Any]]] = defaultdict(list)
    for row, filled in answers.items():
        kind = kinds[row.partition("-")[0]]
        for one, other in combinations(filled, 2):
            names = (one.by or _file(one), other.by or _file(other))
            shared[(kind, *names)].append((one.answer, other.answer))
    if not shared:
        return ""
    (shared_kind, one_name, other_name), pairs = max(shared.items(), key=lambda item: len(item[1]))
    who = f"{one_name} and {other_name} answered the same {len(pairs)} rows"
    if shared_kind == "labels":
        same = sum(one == other for one, other in pairs)
        return f"{who} and agree on {same} (Cohen's kappa {kappa(pairs):.2f})"
    from tasks.evaluate import METRICS, Item

    rouge = METRICS.get("rouge_l")
    scores = [
        rouge.score(Item(benchmark="", id="", nll=0, tokens=1, answered=True, reference=str(one),
                         answer=str(other)))
        for one, other in pairs
    ]  # fmt: skip
    mean = sum(score or 0 for score in scores) / len(pairs)
    return f"{who}; their answers have a mean ROUGE-L of {mean:.2f}"


def kappa(pairs: Sequence[tuple[Any, Any]]) -> float:
    """Cohen's κ of pairs of labels; 1 where both only ever say one and the same label."""
    count = len(pairs)
    agreed = sum(one == other for one, other in pairs) / count
    first, second = (Counter(str(pair[side]) for pair in pairs) for side in (0, 1))
    chance = sum(first[label] * second[label] for label in first) / count**2
    return 1.0 if chance == 1 else (agreed - chance) / (1 - chance)


def _file(filled: Filled) -> str:
    return filled.place.rpartition(":")[0] or filled.place
