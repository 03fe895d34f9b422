"""Advice: what a person should know before spending hours on this data. It stops nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.curate.assembly import Assembled, read_record
from tasks.curate.decisions import Decided
from tasks.curate.parts import Parts
from tasks.curate.reading import Benchmark
from tasks.curate.reasons import explain
from tasks.curate.splits import key
from tasks.settings import Curate

FEW_TRAINING = 500
FEW_VALIDATION = 20
MANY_DUPLICATES = 0.2
MANY_DROPPED = 0.2
LARGE_GROUP = 0.5


@dataclass(frozen=True, slots=True)
class Facts:
    """What advice is given on."""

    kept: Mapping[str, int]
    dropped: Counter[str]
    benchmarks: Sequence[Benchmark]
    largest_group: tuple[str, int]
    shared_ids: int

    @classmethod
    def of(
        cls,
        parts: Parts,
        decided: Decided,
        assembled: Assembled,
        benchmarks: Sequence[Benchmark],
        kept: Mapping[str, int],
    ) -> "Facts":
        """The facts of a curation."""
        left = decided.left()
        _, first, counts = np.unique(
            parts.column("home")[left], return_index=True, return_counts=True
        )
        largest = int(np.argmax(counts))
        one = read_record(parts, int(left[first[largest]]))
        ids = parts.column("identity")[left]
        return cls(
            kept=kept,
            dropped=assembled.dropped,
            benchmarks=benchmarks,
            largest_group=(key(one), int(counts[largest])),
            shared_ids=len(ids) - len(np.unique(ids)),
        )


def advise(facts: Facts, settings: Curate) -> list[str]:
    """Warnings in plain sentences, the gravest first; none where all looks well."""
    parts, dropped, benchmarks = facts.kept, facts.dropped, facts.benchmarks
    kept = sum(parts.values())
    total = kept + dropped.total()
    advice = []
    if not benchmarks:
        advice.append(
            "No benchmark was given, so nothing was checked for contamination: every figure "
            "measured later may be measured on training data."
        )
    for benchmark in benchmarks:
        if benchmark.unreadable:
            advice.append(
                f"{benchmark.path}: {benchmark.unreadable} lines are no records and guard nothing."
            )
    if parts["train"] < FEW_TRAINING:
        advice.append(
            f"Fewer than {FEW_TRAINING} training examples ({parts['train']}): tuning mostly "
            "teaches the format of the answers. Add records if it should teach more."
        )
    if parts["validation"] < FEW_VALIDATION:
        advice.append(
            f"Fewer than {FEW_VALIDATION} validation examples ({parts['validation']}): not "
            "enough to tell close configurations apart. Raise curate.validation_share or add "
            "groups."
        )
    if settings.test_share and not parts["test"]:
        advice.append("No group fell to the test set: add groups, or set curate.test_share to 0.")
    for reason, count in sorted(dropped.items(), key=lambda item: (-item[1], item[0])):
        share = count / total
        if reason == "duplicate" and share > MANY_DUPLICATES:
            advice.append(
                f"{share:.0%} of the records are duplicates: check how the data was put together."
            )
        elif reason not in ("duplicate", "contaminated") and share > MANY_DROPPED:
            setting = explain(reason).setting
            where = f" If that is not what you want, see {setting}." if setting else ""
            advice.append(f"{share:.0%} of the records were dropped as {reason}.{where}")
    if dropped.get("contaminated"):
        advice.append(
            f"{dropped['contaminated']} records gave away benchmark records. Look at the evidence: "
            "a source that leaks once may leak in ways that no n-gram finds."
        )
    largest, count = facts.largest_group
    if count > LARGE_GROUP * kept:
        advice.append(
            f"The group {largest!r} holds {count / kept:.0%} of the records kept, so the "
            "splits differ much in what they contain. Give it smaller groups."
        )
    if facts.shared_ids:
        advice.append(
            f"{facts.shared_ids} records share their id with another; source and line tell them."
        )
    return advice
