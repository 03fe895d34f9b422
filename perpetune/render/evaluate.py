"""Evaluations in a terminal."""

from typing import TYPE_CHECKING

from perpetune.render.console import interval, print_table

if TYPE_CHECKING:
    from tasks.evaluate import Evaluation


def show_evaluation(evaluation: "Evaluation") -> None:
    """Scores with their intervals, a row a benchmark and metric."""
    rows = [
        (benchmark, metric, interval(score))
        for benchmark, result in evaluation.benchmarks.items()
        for metric, score in result.scores.items()
        if score is not None
    ]
    print_table(f"Evaluation of {evaluation.model}", ["benchmark", "metric", "value"], rows)
