"""Scores with intervals from items, and the files of one evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.evaluate import statistics
from tasks.evaluate.items import Item, by_benchmark
from tasks.evaluate.metrics import METRICS, Metric, selected
from tasks.evaluate.results import BenchmarkResult, Evaluation, Score
from tasks.settings import Settings

_DIGITS = 6


def write(
    items: Sequence[Item],
    out: Path,
    settings: Settings,
    *,
    model: str,
    seconds: float,
    more: Mapping[str, BenchmarkResult],
) -> Evaluation:
    """Write `examples.jsonl` and `metrics.json` of one system into `out`.

    Args:
        items: of one system, on every benchmark.
        out: the folder.
        settings: `evaluate` names the metrics and, with the project's seed, says how intervals are
            drawn.
        model: what was measured, as `metrics.json` names it.
        seconds: what it took.
        more: figures by benchmark that another program has computed.
    """
    metrics = selected(settings.evaluate.metrics)
    parts = by_benchmark(items)
    evaluation = Evaluation(
        model=model,
        benchmarks={name: summarise(part, metrics, settings) for name, part in parts.items()}
        | dict(more),
        seconds=round(seconds, 1),
    )
    rows = [row for part in parts.values() for row in _rows(part, applying(part, metrics))]
    files.write_jsonl(out / "examples.jsonl", rows)
    files.write_json(out / "metrics.json", evaluation.to_json(), sort_keys=False)
    return evaluation


def summarise(
    items: Sequence[Item], metrics: Sequence[Metric], settings: Settings
) -> BenchmarkResult:
    """The scores of one system on one benchmark."""
    return BenchmarkResult(
        examples=len(items),
        generated=sum(item.answered for item in items),
        scores={metric.name: figure(items, metric, settings) for metric in metrics},
    )


def applying(items: Sequence[Item], metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that apply to the items of one benchmark, as they measure these."""
    return [found for metric in metrics if (found := metric.on(items)) is not None]


def item_score(item: Item, metric: Metric) -> float | None:
    """The score of one item; None: the metric has none for it."""
    if metric.needs == "answers" and not item.answered:
        return None
    score = metric.score(item)
    return None if score is None else round(score, _DIGITS)


def derive(metric: Metric, source: Score) -> Score | None:
    """The figure of a derived metric; None where an end of the interval has none."""
    ends = [end for end in (source.value, source.low, source.high) if end is not None]
    found = [figure for end in ends if (figure := metric.transform(end)) is not None]
    if len(found) < len(ends):
        return None
    value, low, high = found if len(found) == 3 else (found[0], None, None)
    return Score(value=value, low=low, high=high, n=source.n, clusters=source.clusters)


def estimated(items: Sequence[Item], metric: Metric) -> statistics.Estimate | None:
    """The metric's figure from these items; None where no item has one.

    Args:
        items: of one system on one benchmark.
        metric: as it applies to them (`Metric.on`).
    """
    scored = [(item, score) for item in items if (score := item_score(item, metric)) is not None]
    if not scored:
        return None
    totals = [metric.totals(item, score) for item, score in scored]
    sample = statistics.sample(totals, [metric.cluster(item) for item, _ in scored])
    return statistics.estimate([sample], metric.figure)


def figure(items: Sequence[Item], metric: Metric, settings: Settings) -> Score | None:
    """The metric's figure with its interval; None where too few items have one."""
    if metric.derived_from is not None:
        source = figure(items, METRICS.get(metric.derived_from), settings)
        return source and derive(metric, source)
    applied = metric.on(items)
    found = None if applied is None else estimated(items, applied)
    # Of a few answers a figure would say nothing; a loss comes from many tokens.
    fewest = statistics.FEWEST_CLUSTERS if metric.needs == "answers" else 1
    if found is None or found.examples < fewest:
        return None
    low = high = None
    if found.known:
        interval = found.interval(settings.evaluate.confidence, metric.bounds)
        low, high = round(interval.low, _DIGITS), round(interval.high, _DIGITS)
    value = round(found.value, _DIGITS)
    return Score(value=value, low=low, high=high, n=found.examples, clusters=found.clusters)


def _rows(items: Sequence[Item], metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    return [_row(item, metrics) for item in items]


def _row(item: Item, metrics: Sequence[Metric]) -> dict[str, Any]:
    """A line of `examples.jsonl`: the item, and its score by each metric that has one."""
    row: dict[str, Any] = {
        "benchmark": item.benchmark,
        "id": item.id,
        "group": item.group,
        "nll": item.nll,
        "tokens": item.tokens,
    }
    if item.not_finite:
        row["not_finite"] = item.not_finite
    if item.answered:
        row |= {"prompt": item.prompt, "reference": item.reference, "answer": item.answer}
    scores = {metric.name: item_score(item, metric) for metric in metrics}
    return row | {name: score for name, score in scores.items() if score is not None}
