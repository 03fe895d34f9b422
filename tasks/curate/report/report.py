"""The report: `report.json` for machines, `report.html` and `data_card.md` for people.

The page is one file that needs nothing else: no network, no scripts, no fonts. What comes from
data is escaped by Jinja2, its invisible characters are made visible, and its personal data masked.
Page and card hold no timings, so equal data gives equal bytes.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks import records
from tasks.core import files
from tasks.curate.report.advice import alarms, remarks
from tasks.curate.report.card import data_name, shown_settings, write_card
from tasks.curate.report.histogram import draw, round_up
from tasks.curate.report.samples import ReportExamples, collect_examples
from tasks.curate.results import CurationReport, Figures
from tasks.curate.run.shards import Shards
from tasks.curate.run.statuses import RecordStatus
from tasks.curate.run.steps import RECORD_STEPS
from tasks.curate.run.writer import Tally
from tasks.curate.step import GlobalRun
from tasks.curate.steps.privacy.redaction import KINDS, kind_name
from tasks.curate.steps.privacy.step import Redact
from tasks.curate.steps.quality.filters.token_count import FewestTokens, MostTokens
from tasks.curate.steps.replay.step import wanted_replay
from tasks.curate.steps.splits.splits import SPLITS, group_key
from tasks.model import tokens
from tasks.rendering.templates import render
from tasks.settings import Settings

_BINS = 30
_CHAT = records.KINDS.index("chat")


def write_report(
    out: Path, run: GlobalRun, tally: Tally, settings: Settings, *, engine: str, seconds: float
) -> CurationReport:
    """Write `report.html` and `data_card.md` into `out`.

    Args:
        out: folder.
        run: all records, and what has become of them.
        tally: of the records that were written.
        settings: what the data was made with.
        engine: name of the engine.
        seconds: that the curation has taken.

    Returns:
        What `report.json` is to hold, without the hashes of the files.
    """
    folder = tokens.locate(settings).absolute()
    figures = count_figures(run, tally, context_window=_context_window(folder))
    severe = tuple(alarms(figures, settings.curate))
    others = tuple(remarks(figures, settings.curate))
    report = CurationReport(
        **dict(figures),
        alarms=severe,
        remarks=others,
        advice=(*severe, *others),
        seconds=round(seconds, 3),
        records_per_second=round(figures.before / max(seconds, 1e-9), 1),
        engine=engine,
    )
    examples = collect_examples(run, tally, tokens.load(folder))
    files.write_text(out / "report.html", page(report, examples, settings))
    files.write_text(out / "data_card.md", write_card(report, examples.training, settings))
    return report


def page(report: CurationReport, examples: ReportExamples, settings: Settings) -> str:
    """`report.html`: one accessible page, light or dark as the reader's system is."""
    curate = settings.curate
    quality = curate.quality
    bounds = (quality.of(FewestTokens).min_tokens, quality.of(MostTokens).max_tokens)
    return render(
        __package__ or "",
        "report.html.j2",
        report=report,
        name=data_name(report),
        base=settings.base.model,
        splits=SPLITS,
        reasons=examples.reasons,
        leaks=examples.leaks,
        leak_count=report.dropped.get("contaminated", 0),
        examples=examples.training,
        histogram=draw(report.tokens, *bounds),
        actions=curate.privacy.model_dump(),
        kind_name=kind_name,
        share=percent,
        settings=shown_settings(curate),
    )


def percent(share: float) -> str:
    """A share as people read it."""
    value = 100 * share
    if 0 < value < 0.1:
        return "< 0.1 %"
    return f"{value:.1f} %" if 0 < value < 10 or 99 < value < 100 else f"{value:.0f} %"


def count_figures(run: GlobalRun, tally: Tally, *, context_window: int | None) -> Figures:
    """The figures of the report.

    Args:
        run: all records, and what has become of them.
        tally: of the records that were written.
        context_window: tokens that the base model was made for.
    """
    passed: Counter[str] = Counter()
    private: Counter[str] = Counter()
    for shard in run.shards:
        summary = shard.summary()
        passed.update(summary["passed"])
        private.update(summary["counts"][Redact.name])
    kept = run.statuses.remaining()
    status = run.statuses.status[kept]
    in_split = {name: status == number for number, name in enumerate(SPLITS)}
    dropped = dict(sorted(tally.dropped.items()))
    column = run.shards.column
    positions, lengths, kinds = (column(name)[kept] for name in ("position", "tokens", "kind"))
    replay, answers = run.replay[kept], column("answer")[kept]
    return Figures.from_json(
        {
            "in": passed["in"],
            "kept": {name: int(mask.sum()) for name, mask in in_split.items()},
            "groups": {name: len(np.unique(positions[mask])) for name, mask in in_split.items()},
            "dropped": dropped,
            "details": _commonest_details(tally),
            "steps": _funnel(passed, run.statuses.funnel),
            "tokens": {
                **_distribution(lengths),
                "by_split": {name: _total(lengths[mask]) for name, mask in in_split.items()},
                "context_window": context_window,
            },
            "kinds": {name: int((kinds == i).sum()) for i, name in enumerate(records.KINDS)},
            "labels": _labels(answers[(kinds == _CHAT) & ~replay]),
            "duplicates": {"share": _duplicate_share(dropped, passed["in"])},
            "personal_data": {
                kind: {"records": private[f"{kind} records"], "places": private[kind]}
                for kind in KINDS
                if private[kind]
            },
            "largest_group": _largest_group(run.shards, kept, positions),
            "shared_ids": len(kept) - len(np.unique(column("identity")[kept])),
            "replay": _replay(run, status, replay),
            "files": [
                {"path": path, "in": count, "kept": stayed}
                for path, (count, stayed) in sorted(tally.of_file.items())
            ],
            "benchmarks": [
                {
                    "path": benchmark.path,
                    "records": len(benchmark.records),
                    "unreadable": benchmark.unreadable,
                    "unanswered": benchmark.unanswered,
                }
                for benchmark in run.benchmarks
            ],
        }
    )


def _duplicate_share(dropped: Mapping[str, int], total: int) -> float:
    same = dropped.get("duplicate", 0) + dropped.get("near_duplicate", 0)
    return round(same / total, 4)


def _commonest_details(tally: Tally) -> dict[str, Any]:
    """By reason, the commonest detail in the ledger."""
    return {
        reason: {"text": text, "records": count}
        for reason, counts in sorted(tally.details.items())
        for text, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:1]
    }


def _funnel(
    passed: Mapping[str, int], global_steps: Sequence[tuple[str, int, int]]
) -> list[dict[str, Any]]:
    """Records before and after each step."""
    before = ["in", *(step.name for step in RECORD_STEPS)]
    steps = [
        (step.title, passed[earlier], passed[step.name])
        for step, earlier in zip(RECORD_STEPS, before[:-1], strict=True)
    ]
    return [
        {"step": title, "in": count, "out": left} for title, count, left in (*steps, *global_steps)
    ]


def _replay(
    run: GlobalRun, status: npt.NDArray[np.int8], replay: npt.NDArray[np.bool_]
) -> dict[str, int]:
    general = int(replay.sum())
    task = int((status == RecordStatus.TRAIN).sum()) - general
    wanted = wanted_replay(task, run.settings.replay.share) if run.settings.replay.inputs else 0
    return {"kept": general, "wanted": wanted}


def _distribution(lengths: npt.NDArray[np.int32]) -> dict[str, Any]:
    ranked = np.sort(lengths)
    low, high = int(ranked[0]), int(ranked[-1])
    width = round_up((high - low + 1) / _BINS)
    first = low // width * width
    counts = np.bincount((ranked - first) // width).tolist()
    return {
        "minimum": low,
        "p5": _quantile(ranked, 0.05),
        "median": _quantile(ranked, 0.5),
        "p95": _quantile(ranked, 0.95),
        "p99": _quantile(ranked, 0.99),
        "maximum": high,
        "total": _total(ranked),
        "bins": [
            {"from": first + number * width, "to": first + (number + 1) * width - 1, "records": n}
            for number, n in enumerate(counts)
        ],
    }


def _quantile(ranked: npt.NDArray[np.int32], share: float) -> int:
    """Nearest rank: the smallest value that so many of the values do not exceed."""
    return int(ranked[max(math.ceil(share * len(ranked)) - 1, 0)])


def _total(lengths: npt.NDArray[np.int32]) -> int:
    return int(lengths.sum(dtype=np.int64))


def _labels(answers: npt.NDArray[np.uint64]) -> dict[str, Any] | None:
    """How the chats' last answers spread; None without chats."""
    if not len(answers):
        return None
    counts = np.unique(answers, return_counts=True)[1]
    most = int(counts.max())
    return {
        "chats": len(answers),
        "distinct": len(counts),
        "most_common": {"records": most, "share": round(most / len(answers), 4)},
        "rarest": {"records": int(counts.min())},
    }


def _largest_group(
    shards: Shards, kept: npt.NDArray[np.int64], positions: npt.NDArray[np.float64]
) -> dict[str, Any]:
    first, counts = np.unique(positions, return_index=True, return_counts=True)[1:]
    largest = int(np.argmax(counts))
    record = shards.record(int(kept[first[largest]]))
    return {"name": group_key(record), "records": int(counts[largest])}


def _context_window(folder: Path) -> int | None:
    """Tokens that the base model was made for, if its configuration is beside the tokenizer."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        # Models that also read images keep it a level deeper.
        value = config.get("max_position_embeddings") or config["text_config"].get(
            "max_position_embeddings"
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return value if type(value) is int and value > 0 else None
