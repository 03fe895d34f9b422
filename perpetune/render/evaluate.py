"""Evaluations in a terminal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perpetune.render.console import console, escape, interval, print_table

if TYPE_CHECKING:
    from tasks.evaluate import Evaluation, Score, Verdict

_COLORS = {"passed": "green", "failed": "red", "cannot decide": "yellow"}


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
    """The systems beside each other, what each gate decided, and what else is worth knowing."""
    from tasks.evaluate import comparison_table, title

    systems = list(verdict.models)
    print_table(
        f"{verdict.reference.capitalize()} against candidate",
        ["benchmark", "metric", *(system.replace("_", " ") for system in systems)],
        [
            (row.benchmark, row.metric, *(_cell(row.scores.get(name)) for name in systems))
            for row in comparison_table(verdict)
        ],
    )
    for gate in verdict.gates:
        outcome = "asked at approval" if gate.at_approval else str(gate.outcome)
        color = "cyan" if gate.at_approval else _COLORS[outcome]
        console.print(
            f"[{color}]{outcome:<13}[/]  {escape(gate.name)}: {escape(gate.reason)}",
            soft_wrap=True,
        )
    for note in verdict.notes:
        console.print(f"[cyan]{'note':<13}[/]  {escape(note)}", soft_wrap=True)
    for finding in verdict.diagnosis:
        said = f"{title(finding)}: {finding.sentence} {finding.remedy}"
        console.print(f"[yellow]{'diagnosis':<13}[/]  {escape(said)}", soft_wrap=True)


def show_review(recorded: Mapping[str, Any]) -> None:
    """What a person's marks say, and on which version they are recorded."""
    console.print(escape(recorded["sentence"]), soft_wrap=True)
    rows = [(name, *counts, sum(counts)) for name, counts in recorded["by_benchmark"].items()]
    print_table(
        f"Marks of {recorded['by']} on version {recorded['version']}",
        ["benchmark", "candidate better", "tie", f"{recorded['reference']} better", "marked"],
        rows,
    )
    if recorded["unmarked"]:
        console.print(f"{recorded['unmarked']} items of the sheet are not marked.")


def _cell(score: "Score | None") -> str:
    return "-" if score is None else interval(score)
