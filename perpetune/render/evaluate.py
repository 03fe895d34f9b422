"""Evaluations in a terminal."""

from typing import TYPE_CHECKING

from perpetune.render.console import console, escape, interval, print_table

if TYPE_CHECKING:
    from tasks.evaluate import Evaluation, Verdict


def show_evaluation(evaluation: "Evaluation") -> None:
    """Scores with their intervals, a row a benchmark and metric."""
    rows = [
        (benchmark, metric, interval(score))
        for benchmark, result in evaluation.benchmarks.items()
        for metric, score in result.scores.items()
        if score is not None
    ]
    print_table(f"Evaluation of {evaluation.model}", ["benchmark", "metric", "value"], rows)


def show_verdict(verdict: "Verdict") -> None:
    """The models beside each other, and what each gate decided."""
    from tasks.evaluate import comparison_table

    systems = list(verdict.models)
    print_table(
        f"{verdict.reference.capitalize()} against candidate",
        ["benchmark", "metric", *systems],
        [
            (row.benchmark, row.metric, *(interval(row.scores[name]) for name in systems))
            for row in comparison_table(verdict)
        ],
    )
    for gate in verdict.gates:
        color = "green" if gate.passed else "red"
        console.print(f"[{color}]{gate.outcome}[/]  {escape(gate.name)}: {escape(gate.reason)}")
