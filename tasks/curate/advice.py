"""Advice: what a person should know before spending hours on this data. It stops nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tasks.curate.reading import Benchmark
from tasks.curate.reasons import explain
from tasks.curate.splits import Split, key
from tasks.records import Record
from tasks.settings import Curate

FEW_TRAINING = 500
FEW_VALIDATION = 20
MANY_DUPLICATES = 0.2
MANY_DROPPED = 0.2
LARGE_GROUP = 0.5


def advise(
    parts: Mapping[Split, Sequence[Record]],
    dropped: Mapping[str, int],
    benchmarks: Sequence[Benchmark],
    settings: Curate,
) -> list[str]:
    """Warnings in plain sentences, the gravest first; none where all looks well."""
    kept = [record for records in parts.values() for record in records]
    total = len(kept) + sum(dropped.values())
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
    if len(parts["train"]) < FEW_TRAINING:
        advice.append(
            f"Fewer than {FEW_TRAINING} training examples ({len(parts['train'])}): tuning mostly "
            "teaches the format of the answers. Add records if it should teach more."
        )
    if len(parts["validation"]) < FEW_VALIDATION:
        advice.append(
            f"Fewer than {FEW_VALIDATION} validation examples ({len(parts['validation'])}): not "
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
    largest, count = Counter(map(key, kept)).most_common(1)[0]
    if count > LARGE_GROUP * len(kept):
        advice.append(
            f"The group {largest!r} holds {count / len(kept):.0%} of the records kept, so the "
            "splits differ much in what they contain. Give it smaller groups."
        )
    clashes = sum(count - 1 for count in Counter(record.id for record in kept).values())
    if clashes:
        advice.append(f"{clashes} records share their id with another; source and line tell them.")
    return advice
