"""The report: `report.json` for machines, `report.html` for people.

The page is one file that needs nothing else: no network, no scripts, no fonts. What comes from
data is escaped by Jinja2, and its invisible characters are made visible.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks import files
from tasks.curate.advice import Facts, advise
from tasks.curate.assembly import Assembled
from tasks.curate.decisions import Decided
from tasks.curate.engine import Engine
from tasks.curate.parts import Parts
from tasks.curate.reading import Benchmark
from tasks.curate.reasons import explain
from tasks.curate.splits import SPLITS
from tasks.records import Record
from tasks.settings import Settings

_BINS = 30
_CHARACTERS = 400
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
    """Write `report.html` and `report.json` into `out`; returns the content of the latter.

    In it `in` is the sum of all `kept` and all `dropped`.
    """
    passed: Counter[str] = Counter()
    personal: Counter[str] = Counter()
    for part in parts:
        summary = part.summary()
        passed.update(summary["passed"])
        personal.update(summary["personal"])
    kept = decided.left()
    verdict = decided.verdict[kept]
    homes = parts.column("home")[kept]
    sizes: dict[str, int] = {
        name: int((verdict == number).sum()) for number, name in enumerate(SPLITS)
    }
    before = [passed["in"], *(passed[step] for step in _SIFTED)]
    steps = [*zip(_SIFTED, before[:-1], before[1:], strict=True), *decided.funnel]
    tokens = parts.column("tokens")[kept]
    facts = Facts.of(parts, decided, assembled, benchmarks, sizes)
    report = {
        "in": passed["in"],
        "kept": sizes,
        "groups": {
            name: len(np.unique(homes[verdict == number])) for number, name in enumerate(SPLITS)
        },
        "dropped": dict(sorted(assembled.dropped.items())),
        "seconds": round(seconds, 3),
        "records_per_second": round(passed["in"] / max(seconds, 1e-9), 1),
        "engine": engine,
        "steps": [{"step": step, "in": count, "out": left} for step, count, left in steps],
        "tokens": _distribution(tokens),
        "personal_data": dict(sorted(personal.items())),
        "files": [
            {"path": path, "in": count, "kept": left}
            for path, (count, left) in sorted(assembled.of_file.items())
        ],
        "benchmarks": [
            {"path": one.path, "records": len(one.records), "unreadable": one.unreadable}
            for one in benchmarks
        ],
        "advice": advise(facts, settings.curate),
    }
    files.write_text(out / "report.html", page(report, assembled, settings))
    files.write_json(out / "report.json", report)
    return report


def page(report: Mapping[str, Any], assembled: Assembled, settings: Settings) -> str:
    """`report.html`: one accessible page, light or dark as the reader's system is."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": "{:,}".format, "share": _percent, "visible": visible}
    template = environment.from_string(
        Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    )
    return template.render(
        report=report,
        name=settings.project.name,
        base=settings.base.model,
        kept=sum(report["kept"].values()),
        dropped=sum(report["dropped"].values()),
        reasons=_reasons(assembled),
        leaks=assembled.samples.get("contaminated", []),
        leak_count=assembled.dropped["contaminated"],
        examples=_examples(assembled.examples),
        settings=settings.curate.model_dump(mode="json"),
    )


def visible(text: str, limit: int = _CHARACTERS) -> str:
    """`text` cut to `limit` characters, with what would not show, or would reorder the line
    (control and format characters), written as its code point."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(
        sign
        if sign in "\n\t" or not unicodedata.category(sign).startswith("C")
        else f"⟨U+{ord(sign):04X}⟩"
        for sign in cut
    )


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.1:
        return "< 0.1 %"
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def _distribution(tokens: npt.NDArray[np.int32]) -> dict[str, Any]:
    ranked = np.sort(tokens)
    low, high = int(ranked[0]), int(ranked[-1])
    width = _round_width((high - low + 1) / _BINS)
    first = low // width * width
    counts = np.bincount((ranked - first) // width).tolist()
    return {
        "minimum": low,
        "median": _quantile(ranked, 0.5),
        "p95": _quantile(ranked, 0.95),
        "maximum": high,
        "total": int(ranked.sum(dtype=np.int64)),
        "bins": [
            {"from": first + number * width, "to": first + (number + 1) * width - 1, "records": n}
            for number, n in enumerate(counts)
        ],
    }


def _quantile(ranked: npt.NDArray[np.int32], share: float) -> int:
    """Nearest rank: the smallest value that so many of the values do not exceed."""
    return int(ranked[max(math.ceil(share * len(ranked)) - 1, 0)])


def _round_width(width: float) -> int:
    """The next of 1, 2, 5, 10, 20, … that is no smaller."""
    unit = 1
    while True:
        for step in (1, 2, 5):
            if step * unit >= width:
                return step * unit
        unit *= 10


def _reasons(assembled: Assembled) -> list[dict[str, Any]]:
    """Each reason with its samples, the most frequent first."""
    counted = sorted(assembled.dropped.items(), key=lambda item: (-item[1], item[0]))
    return [
        {
            "name": reason,
            "step": assembled.samples[reason][0].step,
            "count": count,
            "meaning": explain(reason).meaning,
            "setting": explain(reason).setting,
            "samples": assembled.samples[reason],
        }
        for reason, count in counted
    ]


def _examples(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [
        {
            "id": record.id,
            "place": "{}:{}".format(*(record.origin or (record.source, record.line))),
            "turns": _turns(record.content),
        }
        for record in records
    ]


def _turns(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "messages" in content:
        return [(turn["role"], turn["content"]) for turn in content["messages"]]
    return [(name, str(text)) for name, text in content.items()]
