"""The scores of a verdict side by side."""

from dataclasses import dataclass

from tasks.core.values import Value
from tasks.evaluate.metrics import named
from tasks.evaluate.results import Score, Verdict
from tasks.evaluate.statistics import Interval


class ComparisonRow(Value):
    """One metric on one benchmark, by system."""

    benchmark: str
    metric: str
    scores: dict[str, Score]
    """Of every system that has one, in the order of `in_order`; of candidate and reference in any
    case."""


def comparison_table(verdict: Verdict) -> list[ComparisonRow]:
    """One row for each benchmark and metric in which candidate and reference have a score."""
    rows = []
    for benchmark, candidate in verdict.candidate.benchmarks.items():
        for metric in candidate.scores:
            scores = {}
            for name, evaluation in verdict.models.items():
                result = evaluation.benchmarks.get(benchmark)
                score = result.scores.get(metric) if result else None
                if score is not None:
                    scores[name] = score
            if {"candidate", verdict.reference} <= scores.keys():
                rows.append(ComparisonRow(benchmark=benchmark, metric=metric, scores=scores))
    return rows


@dataclass(frozen=True, slots=True)
class ShownScore:
    """A score as text, with the places of its ends in percent of its row's range."""

    model: str
    value: str
    low: str
    high: str
    at: Interval


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A `ComparisonRow` as pages show it."""

    benchmark: str
    metric: str
    about: str
    examples: int
    cells: tuple[ShownScore | None, ...]
    """Of every system in the verdict; None where it has no score."""


def shown_rows(verdict: Verdict) -> list[ShownRow]:
    """The table as text."""
    rows = []
    for row in comparison_table(verdict):
        metric = named(row.metric)
        ends = {name: _ends(score) for name, score in row.scores.items()}
        low = min(end.low for end in ends.values())
        width = max(end.high for end in ends.values()) - low or 1.0
        cells = {}
        for system, score in row.scores.items():
            value, bottom, top = (
                round(100 * (end - low) / width, 1)
                for end in (score.value, ends[system].low, ends[system].high)
            )
            cells[system] = ShownScore(
                model=system,
                value=f"{score.value:.3g}",
                low=_text(score.low),
                high=_text(score.high),
                at=Interval(value, bottom, top),
            )
        rows.append(
            ShownRow(
                benchmark=row.benchmark,
                metric=metric.label,
                about=metric.about,
                examples=row.scores["candidate"].n,
                cells=tuple(cells.get(system) for system in verdict.models),
            )
        )
    return rows


def _ends(score: Score) -> Interval:
    """What is drawn: the value alone where its interval is not known."""
    low = score.value if score.low is None else score.low
    high = score.value if score.high is None else score.high
    return Interval(score.value, low, high)


def _text(end: float | None) -> str:
    return "?" if end is None else f"{end:.3g}"
