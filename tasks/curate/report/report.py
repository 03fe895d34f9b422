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
from tasks.curate.report.advice import alarms, personal, remarks
from tasks.curate.report.card import card, data_name, shown_settings
from tasks.curate.report.histogram import draw, round_up
from tasks.curate.report.samples import Shown, show
from tasks.curate.run.engine import Engine
from tasks.curate.run.global_steps import Decided
from tasks.curate.run.shards import Parts
from tasks.curate.run.writer import Assembled
from tasks.curate.steps.contamination.benchmarks import Benchmark
from tasks.curate.steps.privacy.redaction import KINDS
from tasks.curate.steps.quality.filters.token_count import FewestTokens, MostTokens
from tasks.curate.steps.splits.splits import SPLITS, TRAIN, group_key
from tasks.model import tokens
from tasks.rendering.markdown import clip, visible
from tasks.settings import Settings

_BINS = 30
_SIFTED = ("read", "quality", "redact")


def write_report(
    out: Path,
    parts: Parts,
    decided: Decided,
    assembled: Assembled,
    benchmarks: Sequence[Benchmark],
    settings: Settings,
    *,
    engine: Engine,
    seconds: float,
) -> dict[str, Any]:
    """Write `report.html` and `data_card.md` into `out`; returns what `report.json` is to hold.

    In it `in` is the sum of all `kept` and all `dropped`.
    """
    folder = tokens.locate(settings).absolute()
    report = _figures(parts, decided, assembled, benchmarks, settings)
    report["tokens"]["context_window"] = _context_window(folder)
    report["alarms"] = alarms(report, settings.curate)
    report["remarks"] = remarks(report, settings.curate)
    report["advice"] = report["alarms"] + report["remarks"]
    shown = show(parts, assembled, benchmarks, tokens.load(folder))
    files.write_text(out / "report.html", page(report, shown, settings))
    files.write_text(out / "data_card.md", card(report, shown.examples, settings))
    report |= {
        "seconds": round(seconds, 3),
        "records_per_second": round(report["in"] / max(seconds, 1e-9), 1),
        "engine": engine,
    }
    return report


def page(report: Mapping[str, Any], shown: Shown, settings: Settings) -> str:
    """`report.html`: one accessible page, light or dark as the reader's system is."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "count": "{:,}".format,
        "share": percent,
        "visible": visible,
        "clip": clip,
        "personal": personal,
    }
    template = environment.from_string(
        Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    )
    curate = settings.curate
    return template.render(
        report=report,
        name=data_name(report),
        base=settings.base.model,
        kept=sum(report["kept"].values()),
        dropped=sum(report["dropped"].values()),
        splits=SPLITS,
        reasons=shown.reasons,
        leaks=shown.leaks,
        leak_count=report["dropped"].get("contaminated", 0),
        examples=shown.examples,
        histogram=draw(
            report["tokens"],
            curate.quality.of(FewestTokens).min_tokens,
            curate.quality.of(MostTokens).max_tokens,
        ),
        actions=curate.privacy.model_dump(),
        settings=shown_settings(curate),
    )


def percent(share: float) -> str:
    """A share as people read it."""
    value = 100 * share
    if 0 < value < 0.1:
        return "< 0.1 %"
    return f"{value:.1f} %" if 0 < value < 10 or 99 < value < 100 else f"{value:.0f} %"


def _figures(
    parts: Parts,
    decided: Decided,
    assembled: Assembled,
    benchmarks: Sequence[Benchmark],
    settings: Settings,
) -> dict[str, Any]:
    passed: Counter[str] = Counter()
    private: Counter[str] = Counter()
    for part in parts:
        summary = part.summary()
        passed.update(summary["passed"])
        private.update(summary["personal"])
    kept = decided.left()
    verdict = decided.verdict[kept]
    positions, replay = parts.column("position")[kept], parts.column("replay")[kept]
    lengths, kinds = parts.column("tokens")[kept], parts.column("kind")[kept]
    identities = parts.column("identity")[kept]
    of_split = {name: verdict == number for number, name in enumerate(SPLITS)}
    training, general = int((verdict == TRAIN).sum()), int(replay.sum())
    share = settings.curate.replay.share
    before = [passed["in"], *(passed[step] for step in _SIFTED)]
    steps = [*zip(_SIFTED, before[:-1], before[1:], strict=True), *decided.funnel]
    dropped = dict(sorted(assembled.dropped.items()))
    same = dropped.get("duplicate", 0) + dropped.get("near_duplicate", 0)
    return {
        "in": passed["in"],
        "kept": {name: int(of_it.sum()) for name, of_it in of_split.items()},
        "groups": {name: len(np.unique(positions[of_it])) for name, of_it in of_split.items()},
        "dropped": dropped,
        "details": {
            reason: {"text": text, "records": count}
            for reason, counts in sorted(assembled.details.items())
            for text, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:1]
        },
        "steps": [{"step": step, "in": count, "out": left} for step, count, left in steps],
        "tokens": _distribution(lengths)
        | {"by_split": {name: _total(lengths[of_it]) for name, of_it in of_split.items()}},
        "kinds": {name: int((kinds == number).sum()) for number, name in enumerate(records.KINDS)},
        "labels": _labels(parts.column("answer")[kept][(kinds == 0) & ~replay]),
        "duplicates": {"share": round(same / passed["in"], 4)},
        "personal_data": {
            kind: {"records": private[f"{kind} records"], "places": private[kind]}
            for kind in KINDS
            if private[kind]
        },
        "largest_group": _largest_group(parts, kept, positions),
        "shared_ids": len(kept) - len(np.unique(identities)),
        "replay": {
            "kept": general,
            "wanted": round((training - general) * share / (1 - share))
            if settings.curate.replay.inputs
            else 0,
        },
        "files": [
            {"path": path, "in": count, "kept": left}
            for path, (count, left) in sorted(assembled.of_file.items())
        ],
        "benchmarks": [
            {
                "path": one.path,
                "records": len(one.records),
                "unreadable": one.unreadable,
                "unanswered": one.unanswered,
            }
            for one in benchmarks
        ],
    }


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
    parts: Parts, kept: npt.NDArray[np.int64], positions: npt.NDArray[np.float64]
) -> dict[str, Any]:
    first, counts = np.unique(positions, return_index=True, return_counts=True)[1:]
    largest = int(np.argmax(counts))
    one = parts.record(int(kept[first[largest]]))
    return {"name": group_key(one), "records": int(counts[largest])}


def _context_window(folder: Path) -> int | None:
    """Tokens that the base model was made for, where its configuration lies by the tokenizer."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        # Models that see pictures, too, keep it a level deeper.
        value = config.get("max_position_embeddings") or config["text_config"].get(
            "max_position_embeddings"
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return value if type(value) is int and value > 0 else None
