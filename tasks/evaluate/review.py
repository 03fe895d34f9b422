"""The review sheet: what a person reads before deciding."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.evaluate import metrics
from tasks.evaluate.comparison import METRICS, MODELS, comparison
from tasks.evaluate.evaluation import Row
from tasks.evaluate.gates import GENERAL
from tasks.rendering.templates import render
from tasks.settings import Settings


def write(
    rows: Mapping[str, Sequence[Row]],
    verdict: Mapping[str, Any],
    out: Path,
    settings: Settings,
) -> None:
    """Write `review.html` and `review.md`: verdict, gates, figures, and answers side by side.

    Args:
        rows: lines of `examples.jsonl` of each model, all on the same examples.
        verdict: see `judge`.
        out: the folder.
        settings: `judge.review_examples` says how many examples are shown.
    """
    models = [name for name in MODELS if name in rows]
    sections = [
        {"title": title, "about": about, "examples": [_example(rows, at, models) for at in chosen]}
        for title, about, chosen in choose(rows, verdict["reference"], settings)
        if chosen
    ]
    values = {
        "name": settings.project.name,
        "base": settings.base.model,
        "verdict": verdict,
        "confidence": f"{100 * settings.judge.confidence:g}%",
        "models": models,
        "table": figures(verdict, models),
        "benchmarks": list(verdict["models"]["candidate"]["benchmarks"]),
        "gates": [gate | {"strip": _gate_strip(gate)} for gate in verdict["gates"]],
        "sections": sections,
    }
    for kind in ("html", "md"):
        files.write_text(
            out / f"review.{kind}", render("tasks.evaluate", f"review.{kind}.j2", **values)
        )


def choose(
    rows: Mapping[str, Sequence[Row]], reference: str, settings: Settings
) -> list[tuple[str, str, list[int]]]:
    """Which examples to show, as (title, explanation, indices) of each section.

    What is left of `judge.review_examples` after the answers to the general probe goes half to
    the examples on which the candidate's ROUGE-L differs most from the reference's, half to
    others by the hash of their id: the former show what changed, the latter what is usual.
    """
    candidate, other = rows["candidate"], rows[reference]
    answered = [at for at, row in enumerate(candidate) if "answer" in row]
    general = [at for at in answered if candidate[at]["benchmark"] == GENERAL]
    tuned = [at for at in answered if candidate[at]["benchmark"] != GENERAL]
    places = max(0, settings.judge.review_examples - len(general))

    def change(at: int) -> tuple[float, float]:
        loss = (candidate[at]["nll"] - other[at]["nll"]) / candidate[at]["tokens"]
        return (abs(candidate[at]["rouge_l"] - other[at]["rouge_l"]), abs(loss))

    by_change = sorted(tuned, key=change, reverse=True)[: places // 2]
    rest = sorted(set(tuned) - set(by_change), key=lambda at: _hash(candidate[at]["id"]))
    by_chance = rest[: places - len(by_change)]
    than = "the champion" if reference == "champion" else "the base model"
    return [
        (
            "Largest changes",
            f"Where the candidate's ROUGE-L differs most from that of {than}, up or down.",
            by_change,
        ),
        ("By chance", "Chosen by the hash of their id: what is usual.", by_chance),
        ("General probe", "What the model could do before, and should still.", general),
    ]


def _example(rows: Mapping[str, Sequence[Row]], at: int, models: Sequence[str]) -> dict[str, Any]:
    row = rows["candidate"][at]
    answers = [
        {
            "model": model,
            "text": rows[model][at]["answer"],
            "parts": _parts(rows[model][at]["answer"], row["reference"]),
            "rouge_l": f"{rows[model][at]['rouge_l']:.2f}",
            "exact": rows[model][at]["exact"],
            "loss": f"{rows[model][at]['nll'] / row['tokens']:.2f}",
        }
        for model in models
    ]
    return {key: row[key] for key in ("id", "benchmark", "prompt", "reference")} | {
        "answers": answers
    }


def _parts(answer: str, reference: str) -> list[tuple[str, bool]]:
    """The answer in pieces; true for words that it shares with the reference, in order."""
    parts, done = [], 0
    for start, end in metrics.common_spans(answer, reference):
        parts += [(answer[done:start], False), (answer[start:end], True)]
        done = end
    return [*((text, shared) for text, shared in parts if text), (answer[done:], False)]


def figures(verdict: Mapping[str, Any], models: Sequence[str]) -> list[dict[str, Any]]:
    """`comparison(verdict)` as text, with the place of each end of an interval in percent."""
    rows = []
    for row in comparison(verdict):
        figures = [row[model] for model in models]
        low = min(each["low"] for each in figures)
        width = max(each["high"] for each in figures) - low or 1.0
        cells = []
        for model, each in zip(models, figures, strict=True):
            ends = {end: round(100 * (each[end] - low) / width, 1) for end in each}
            cells.append({"model": model, "at": ends} | {end: f"{each[end]:.3g}" for end in each})
        counts = verdict["models"]["candidate"]["benchmarks"][row["benchmark"]]
        generated = row["metric"] in ("rouge_l", "exact_match")
        rows.append(
            {
                "benchmark": row["benchmark"],
                "metric": row["metric"],
                "about": METRICS[row["metric"]],
                "examples": counts["generated" if generated else "examples"],
                "cells": cells,
            }
        )
    return rows


def _gate_strip(gate: Mapping[str, Any]) -> dict[str, float]:
    """Places in percent of a gate's interval, its threshold and of no difference."""
    low, high = gate["interval"]
    points = {"low": low, "value": gate["value"], "high": high}
    points |= {"threshold": gate["threshold"], "zero": 0.0}
    left, right = min(points.values()), max(points.values())
    width = right - left or 1.0
    return {name: round(5 + 90 * (point - left) / width, 1) for name, point in points.items()}


def _hash(identity: str) -> bytes:
    return hashlib.sha256(f"review:{identity}".encode()).digest()
