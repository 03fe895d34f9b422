"""A candidate beside base and champion: losses, answers, metrics, gates and the review sheet.

`evaluate` measures one system on held-out data; `compare` measures base, champion and candidate and
decides on every gate. `comparison_table` and `model_card` show a verdict to people. A metric is a
member of `METRICS`, a gate one of `GATES`.
"""

from typing import TYPE_CHECKING

from tasks.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tasks.evaluate.benchmarks import check_benchmarks
    from tasks.evaluate.comparison import compare
    from tasks.evaluate.diagnosis import DIAGNOSTICS, Diagnostic, title
    from tasks.evaluate.evaluation import evaluate
    from tasks.evaluate.gates import GATES, Gate, Measured
    from tasks.evaluate.inputs import Evidence, Systems
    from tasks.evaluate.metrics import METRICS, Item, Metric
    from tasks.evaluate.pages.card import model_card
    from tasks.evaluate.pages.table import ComparisonRow, comparison_table
    from tasks.evaluate.record_scores import score_records
    from tasks.evaluate.results import (
        BenchmarkResult,
        Evaluation,
        Finding,
        GateResult,
        Outcome,
        Score,
        Verdict,
    )
    from tasks.evaluate.review import KEY_FILE, MarkCounts, count_marks
    from tasks.evaluate.statistics import estimate, sample

__all__ = [
    "DIAGNOSTICS",
    "GATES",
    "KEY_FILE",
    "METRICS",
    "BenchmarkResult",
    "ComparisonRow",
    "Diagnostic",
    "Evaluation",
    "Evidence",
    "Finding",
    "Gate",
    "GateResult",
    "Item",
    "MarkCounts",
    "Measured",
    "Metric",
    "Outcome",
    "Score",
    "Systems",
    "Verdict",
    "check_benchmarks",
    "compare",
    "comparison_table",
    "count_marks",
    "estimate",
    "evaluate",
    "model_card",
    "sample",
    "score_records",
    "title",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "BenchmarkResult": "results",
        "ComparisonRow": "pages.table",
        "DIAGNOSTICS": "diagnosis",
        "Diagnostic": "diagnosis",
        "Evaluation": "results",
        "Evidence": "inputs",
        "Finding": "results",
        "GATES": "gates",
        "Gate": "gates",
        "GateResult": "results",
        "Item": "metrics",
        "KEY_FILE": "review",
        "METRICS": "metrics",
        "MarkCounts": "review",
        "Measured": "gates",
        "Metric": "metrics",
        "Outcome": "results",
        "Score": "results",
        "Systems": "inputs",
        "Verdict": "results",
        "check_benchmarks": "benchmarks",
        "compare": "comparison",
        "comparison_table": "pages.table",
        "count_marks": "review",
        "estimate": "statistics",
        "evaluate": "evaluation",
        "model_card": "pages.card",
        "sample": "statistics",
        "score_records": "record_scores",
        "title": "diagnosis",
    },
)
