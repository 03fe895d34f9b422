"""The report: `report.json` for machines, `report.html` for people.

The page is one file that needs nothing else: no network, no scripts, no fonts. What comes from
data is escaped by Jinja2, and its invisible characters are made visible.
"""

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.curate.contamination import STEP as CONTAMINATION
from tasks.curate.ledger import Dropped
from tasks.curate.reading import Benchmark
from tasks.curate.reasons import explain
from tasks.curate.splits import Split, key, position
from tasks.records import Record
from tasks.settings import Settings

ENGINE = "python"
_BINS = 30
_SAMPLES = 3
_LEAKS = 12
_EXAMPLES = 4
_CHARACTERS = 400


def summary(
    *,
    parts: Mapping[Split, Sequence[Record]],
    dropped: Sequence[Dropped],
    funnel: Sequence[tuple[str, int, int]],
    benchmarks: Sequence[Benchmark],
    tokens: Sequence[int],
    advice: Sequence[str],
    seconds: float,
) -> dict[str, Any]:
    """The content of `report.json`; `in` is the sum of all `kept` and all `dropped`.

    Args:
        parts: the records of each split.
        dropped: the ledger.
        funnel: name of each step, records before and after it.
        benchmarks: what was checked against.
        tokens: tokens of each record kept.
        advice: sentences for the reader.
        seconds: wall time so far.
    """
    kept = [record for records in parts.values() for record in records]
    total = len(kept) + len(dropped)
    kept_of = Counter(record.source for record in kept)
    dropped_of = Counter(line.source for line in dropped)
    return {
        "in": total,
        "kept": {name: len(records) for name, records in parts.items()},
        "groups": {name: len({key(record) for record in parts[name]}) for name in parts},
        "dropped": dict(sorted(Counter(line.reason for line in dropped).items())),
        "seconds": round(seconds, 3),
        "records_per_second": round(total / max(seconds, 1e-9), 1),
        "engine": ENGINE,
        "steps": [{"step": step, "in": before, "out": after} for step, before, after in funnel],
        "tokens": _distribution(tokens),
        "files": [
            {
                "path": path,
                "in": kept_of[path] + dropped_of[path],
                "kept": kept_of[path],
            }
            for path in sorted(kept_of | dropped_of)
        ],
        "benchmarks": [
            {"path": one.path, "records": len(one.records), "unreadable": one.unreadable}
            for one in benchmarks
        ],
        "advice": list(advice),
    }


def page(
    report: Mapping[str, Any],
    parts: Mapping[Split, Sequence[Record]],
    dropped: Sequence[Dropped],
    settings: Settings,
) -> str:
    """`report.html`: one accessible page, light or dark as the reader's system is."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": "{:,}".format, "share": _percent, "visible": visible}
    template = environment.from_string(
        Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    )
    leaks = sorted(
        (line for line in dropped if line.step == CONTAMINATION),
        key=lambda line: (line.evidence["overlap"], line.source, line.line),
    )
    return template.render(
        report=report,
        name=settings.project.name,
        base=settings.base.model,
        kept=sum(report["kept"].values()),
        dropped=len(dropped),
        reasons=_reasons(dropped),
        leaks=leaks[:_LEAKS],
        leak_count=len(leaks),
        examples=_examples(parts["train"]),
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


def _distribution(tokens: Sequence[int]) -> dict[str, Any]:
    ranked = sorted(tokens)
    low, high = ranked[0], ranked[-1]
    width = _round_width((high - low + 1) / _BINS)
    first = low // width * width
    counts = Counter((count - first) // width for count in ranked)
    return {
        "minimum": low,
        "median": _quantile(ranked, 0.5),
        "p95": _quantile(ranked, 0.95),
        "maximum": high,
        "total": sum(ranked),
        "bins": [
            {
                "from": first + number * width,
                "to": first + (number + 1) * width - 1,
                "records": counts[number],
            }
            for number in range(max(counts) + 1)
        ],
    }


def _quantile(ranked: Sequence[int], share: float) -> int:
    """Nearest rank: the smallest value that so many of the values do not exceed."""
    return ranked[max(math.ceil(share * len(ranked)) - 1, 0)]


def _round_width(width: float) -> int:
    """The next of 1, 2, 5, 10, 20, … that is no smaller."""
    unit = 1
    while True:
        for step in (1, 2, 5):
            if step * unit >= width:
                return step * unit
        unit *= 10


def _reasons(dropped: Sequence[Dropped]) -> list[dict[str, Any]]:
    """Each reason with its samples, the most frequent first."""
    lines = defaultdict(list)
    for line in dropped:
        lines[line.reason].append(line)
    return [
        {
            "name": reason,
            "step": of_reason[0].step,
            "count": len(of_reason),
            "meaning": explain(reason).meaning,
            "setting": explain(reason).setting,
            "samples": _drawn(of_reason, _SAMPLES),
        }
        for reason, of_reason in sorted(lines.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _drawn(lines: Iterable[Dropped], count: int) -> list[Dropped]:
    """A sample that is the same every time: the first by hash of their place."""
    return sorted(lines, key=lambda line: position(f"{line.source}:{line.line}"))[:count]


def _examples(records: Iterable[Record]) -> list[dict[str, Any]]:
    drawn = sorted(records, key=lambda record: (position(record.id), record.id))[:_EXAMPLES]
    return [
        {
            "id": record.id,
            "place": "{}:{}".format(*(record.origin or (record.source, record.line))),
            "turns": _turns(record.content),
        }
        for record in drawn
    ]


def _turns(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "messages" in content:
        return [(turn["role"], turn["content"]) for turn in content["messages"]]
    return [(name, str(text)) for name, text in content.items()]
