"""Evaluations in a terminal."""

from typing import Any

from perpetune.render.console import interval, print_table


def show_evaluation(result: dict[str, Any]) -> None:
    """Metrics with their intervals, a row a benchmark and metric."""
    rows = [
        (benchmark, metric, interval(values[metric]))
        for benchmark, values in result["benchmarks"].items()
        for metric in ("loss", "perplexity", "rouge_l", "exact_match")
        if values.get(metric)
    ]
    print_table(f"Evaluation of {result['model']}", ["benchmark", "metric", "value"], rows)
