"""Advice: what a person should know before spending hours on this data. It stops nothing.

The volumes are what practice reports for adapters, as orders of magnitude: people have tuned well
outside of them.
"""

from collections.abc import Iterator

from tasks.curate.reasons import explain
from tasks.curate.results import Figures, LabelFigures
from tasks.curate.settings import Curate
from tasks.curate.steps.privacy.redaction import kind_name
from tasks.curate.steps.quality.filters.token_count import MostTokens
from tasks.rendering.markdown import clip, visible

FEW_TRAINING, FEW_VALIDATION = 500, 20
INSTRUCTIONS, DOCUMENTS, SINGLE_TASK = (2_000, 10_000), (10_000, 100_000), (500, 5_000)
"""Training examples from and to: instructions of many kinds, domain text, a single task."""
MANY_DUPLICATES = MANY_DROPPED = 0.2
LARGE = 0.5
"""Share of the records from which a group, or the most common answer, outweighs the others."""
UNEVEN = 10
"""The same for the most common answer, in times of the rarest."""
LABELS, LABELLED = 50, 100
"""At most so many distinct answers in at least so many chats: the answers are labels."""
CLOSE = 0.9


def advise(report: Figures, settings: Curate) -> list[str]:
    """All of `alarms` and `remarks` in plain sentences, most severe first."""
    return [*alarms(report, settings), *remarks(report, settings)]


def alarms(report: Figures, settings: Curate) -> list[str]:
    """What makes training or its figures worse; none where all looks well.

    Args:
        report: the figures of the report.
        settings: what they were made with.
    """
    return [
        *_benchmarks(report),
        *_amounts(report, settings),
        *_balance(report),
        *_losses(report),
        *_lengths(report, settings),
    ]


def remarks(report: Figures, settings: Curate) -> list[str]:
    """What is good to know, and no reason to stop."""
    return [*_volume(report), *_mixture(report, settings), *_remarks(report, settings)]


def _benchmarks(report: Figures) -> Iterator[str]:
    if not report.benchmarks:
        yield (
            "No benchmark was given, so nothing was checked for contamination: every figure "
            "measured later may be measured on training data."
        )
    for benchmark in report.benchmarks:
        if benchmark.unreadable:
            yield (
                f"{visible(benchmark.path)}: {_lines(benchmark.unreadable)} nothing. Fix the file."
            )
    if count := report.dropped.get("contaminated"):
        yield (
            f"{_records(count)} contained benchmark records and {'was' if count == 1 else 'were'} "
            "dropped. Look at the evidence: a source that leaks once may leak in ways that no "
            "n-gram finds."
        )


def _amounts(report: Figures, settings: Curate) -> Iterator[str]:
    kept = report.kept
    if kept["train"] < FEW_TRAINING:
        yield (
            f"Fewer than {FEW_TRAINING} training examples ({kept['train']}): tuning mostly "
            "teaches the format of the answers. Add records if it should teach more."
        )
    if kept["validation"] < FEW_VALIDATION:
        yield (
            f"Fewer than {FEW_VALIDATION} validation examples ({kept['validation']}): not "
            "enough to tell close configurations apart. Raise curate.splits.validation_share or "
            "add groups."
        )
    if settings.splits.test_share and not kept["test"]:
        yield "No group fell to the test set: add groups, or set curate.splits.test_share to 0."


def _balance(report: Figures) -> Iterator[str]:
    kept, group = report.total_kept, report.largest_group
    if group.records > LARGE * kept:
        yield (
            f"The group {clip(visible(group.name), 80)!r} holds {group.records / kept:.0%} "
            "of the records kept, so the splits differ much in what they contain. Give it smaller "
            "groups."
        )
    labels = report.labels
    if labels is None or not _are_labels(labels):
        return
    share, distinct = labels.most_common.share, labels.distinct
    if distinct == 1:
        yield "All chats have the same last answer: there is nothing to tell apart."
    # Of two labels the more common one has half in any case.
    elif share > max(LARGE, 1.5 / distinct):
        yield (
            f"Of {distinct} distinct answers the most common one is that of {share:.0%} of the "
            "chats: a model that always gives it looks good. Balance the labels, and judge by "
            "label."
        )
    elif labels.most_common.records >= UNEVEN * labels.rarest.records:
        yield (
            f"Of {distinct} distinct answers the most common one is in "
            f"{labels.most_common.records:,} chats and the rarest in "
            f"{labels.rarest.records:,}: rare labels will be learned badly. Add examples of "
            "those."
        )


def _losses(report: Figures) -> Iterator[str]:
    if report.duplicates.share > MANY_DUPLICATES:
        yield (
            f"{report.duplicates.share:.0%} of the records are duplicates or nearly so: "
            "check how the data was put together."
        )
    counted = sorted(report.dropped.items(), key=lambda item: (-item[1], item[0]))
    for reason, count in counted:
        known = reason in ("duplicate", "near_duplicate", "contaminated")
        if count / report.before > MANY_DROPPED and not known:
            known_as = explain(reason)
            where = f" {known_as.remedy}" if known_as.remedy else ""
            if known_as.setting:
                where += f" If that is not what you want, see {known_as.setting}."
            yield (
                f"{count / report.before:.0%} of the records were dropped as {reason}"
                f"{_commonest(report, reason)}.{where}"
            )


def _commonest(report: Figures, reason: str) -> str:
    """The detail that most of the records dropped for a reason share."""
    detail = report.details.get(reason)
    if detail is None:
        return ""
    return f" ({detail.records:,} of them: {clip(visible(detail.text), 200)})"


def _lengths(report: Figures, settings: Curate) -> Iterator[str]:
    tokens, bound = report.tokens, settings.quality.of(MostTokens).max_tokens
    context = tokens.context_window
    if context is not None and tokens.maximum > context:
        yield (
            f"The longest record has {tokens.maximum:,} tokens and the base model's context "
            f"window {context:,}: what is beyond is not learned. Set "
            f"curate.quality.max_tokens to at most {context}."
        )
    elif context is not None and tokens.p95 > CLOSE * context:
        yield (
            f"One record in twenty comes close to the base model's context window of {context:,} "
            f"tokens ({tokens.p95:,} or more): longer questions in use will not fit."
        )
    if tokens.p95 > CLOSE * bound:
        gone = report.dropped.get("too_long", 0)
        yield (
            f"One record in twenty comes close to curate.quality.max_tokens ({tokens.p95:,} or "
            f"more of {bound:,} tokens), and {_records(gone)} beyond it "
            f"{'was' if gone == 1 else 'were'} "
            "dropped: raise it if such records matter, at the cost of memory."
        )


def _volume(report: Figures) -> Iterator[str]:
    kinds = report.kinds
    kind = max(kinds, key=lambda name: (kinds[name], name))
    count = report.kept["train"] - report.replay.kept
    if count < FEW_TRAINING or kind == "preference":
        return  # said already; and practice reports nothing of the kind for preferences
    if kind == "text":
        low, high = DOCUMENTS
        what = "domain text, for which practice reports {low:,} to {high:,} documents"
    elif _are_labels(report.labels):
        low, high = SINGLE_TASK
        what = "a task with few answers, for which practice reports {low:,} to {high:,} examples"
    elif count <= SINGLE_TASK[1]:
        # Whether chats are of one task or of many, their number alone cannot tell.
        low, high = INSTRUCTIONS
        what = (
            "chats: enough for one task ({0[0]:,} to {0[1]:,} by practice), but few for "
            "instructions of many kinds ({low:,} to {high:,})"
        )
    else:
        low, high = INSTRUCTIONS
        what = "chats, where practice reports {low:,} to {high:,} instructions"
    what = what.format(SINGLE_TASK, low=low, high=high)
    if count < low:
        yield f"{count:,} training examples are {what}."
    elif count > high:
        yield (
            f"{count:,} training examples are {what}: a part of them, well chosen, may do as well "
            "in less time."
        )


def _mixture(report: Figures, settings: Curate) -> Iterator[str]:
    replay = report.replay
    if settings.replay.inputs and replay.kept < replay.wanted:
        yield (
            f"Replay is smaller than its share: {replay.kept:,} records where "
            f"{replay.wanted:,} would make {settings.replay.share:.0%} of training. Add general "
            "data to curate.replay.inputs, or lower curate.replay.share."
        )
    if settings.duplicates.similarity is None:
        yield (
            "Near-duplicates were not looked for (curate.duplicates.similarity is null): copies "
            "with small changes count more than once, and may be on both sides of a split."
        )


def _remarks(report: Figures, settings: Curate) -> Iterator[str]:
    found = report.personal_data
    for action, done in (("drop", "dropped for"), ("mask", "masked for")):
        of_action = [kind for kind in found if getattr(settings.privacy, kind) == action]
        if of_action:
            counts = ", ".join(f"{kind_name(kind)} ({found[kind].records:,})" for kind in of_action)
            yield (
                f"Records were {done} {counts}. Only what has a form is found: names and addresses "
                "of people stay."
            )
    if report.shared_ids:
        yield (
            f"{report.shared_ids} records share their id with another; source and line tell "
            "them apart."
        )


def _are_labels(labels: LabelFigures | None) -> bool:
    return labels is not None and labels.chats >= LABELLED and labels.distinct <= LABELS


def _records(count: int) -> str:
    return f"{count:,} record" if count == 1 else f"{count:,} records"


def _lines(count: int) -> str:
    if count == 1:
        return "1 line is no record and protects"
    return f"{count:,} lines are no records and protect"
