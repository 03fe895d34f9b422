"""The review sheet: what a person reads before deciding."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.evaluate.aggregation import item_score
from tasks.evaluate.gates import Measured
from tasks.evaluate.items import Item
from tasks.evaluate.metrics import Metric, selected
from tasks.evaluate.pages.selection import select
from tasks.evaluate.pages.table import shown_rows
from tasks.evaluate.results import GateResult, Verdict, in_words
from tasks.evaluate.words import common_spans
from tasks.rendering.templates import render


def write(measured: Measured, verdict: Verdict, out: Path) -> None:
    """Write `review.html` and `review.md`: verdict, gates, figures, and answers side by side.

    Args:
        measured: the items of every system; `evaluate.review_examples` of them are shown.
        verdict: from `compare`.
        out: the folder.
    """
    settings = measured.settings
    metrics = [
        metric for metric in selected(settings.evaluate.metrics) if metric.derived_from is None
    ]
    items = {
        system: [item for benchmark in measured.items[system].values() for item in benchmark]
        for system in verdict.models
    }
    sections = select(
        items["candidate"],
        items[verdict.reference],
        metrics,
        settings.evaluate.review_examples,
        in_words(verdict.reference),
    )
    values = {
        "name": settings.project.name,
        "base": settings.base.model,
        "verdict": verdict,
        "confidence": f"{100 * settings.evaluate.confidence:g}%",
        "models": list(verdict.models),
        "metrics": metrics,
        "table": shown_rows(verdict),
        "benchmarks": list(verdict.candidate.benchmarks),
        "gates": [(gate, _gate_strip(gate)) for gate in verdict.gates],
        "sections": [
            {
                "title": section.title,
                "about": section.about,
                "examples": [_example(items, i, metrics) for i in section.chosen],
            }
            for section in sections
        ],
    }
    for kind in ("html", "md"):
        page = render("tasks.evaluate.pages", f"review.{kind}.j2", **values)
        files.write_text(out / f"review.{kind}", page)


def _example(
    items: Mapping[str, Sequence[Item]], i: int, metrics: Sequence[Metric]
) -> dict[str, Any]:
    """An example with the answer of every system, its scores, and the words of the reference."""
    example = items["candidate"][i]
    answers = []
    for system, found in items.items():
        scores = {metric.label: item_score(found[i], metric) for metric in metrics}
        answers.append(
            {
                "model": system,
                "text": found[i].answer,
                "pieces": _pieces(found[i].answer, example.reference),
                "scores": {
                    name: "" if score is None else f"{score:.2f}" for name, score in scores.items()
                },
            }
        )
    return {
        "id": example.id,
        "benchmark": example.benchmark,
        "prompt": example.prompt,
        "reference": example.reference,
        "answers": answers,
    }


def _pieces(answer: str, reference: str) -> list[tuple[str, bool]]:
    """The answer in pieces; true for words that it shares with the reference, in order."""
    pieces, done = [], 0
    for start, end in common_spans(answer, reference):
        pieces += [(answer[done:start], False), (answer[start:end], True)]
        done = end
    return [*((text, shared) for text, shared in pieces if text), (answer[done:], False)]


def _gate_strip(gate: GateResult) -> dict[str, float] | None:
    """Places in percent of a gate's interval, its threshold and of no difference."""
    if gate.value is None or gate.interval is None:
        return None
    points = {"low": gate.interval[0], "value": gate.value, "high": gate.interval[1]}
    points |= {"threshold": gate.threshold or 0.0, "zero": 0.0}
    left, right = min(points.values()), max(points.values())
    width = right - left or 1.0
    return {name: round(5 + 90 * (point - left) / width, 1) for name, point in points.items()}
