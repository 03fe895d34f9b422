"""A verdict's figures side by side, for tables."""

from collections.abc import Mapping
from typing import Any

MODELS = ("base", "champion", "candidate")
METRICS = {
    "loss": "nats a token, lower is better",
    "perplexity": "lower is better",
    "rouge_l": "higher is better",
    "exact_match": "higher is better",
}


def comparison(verdict: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each benchmark and metric that was measured.

    Returns:
        Rows with `benchmark`, `metric`, and under `base`, `champion` and `candidate` the metric's
        `value`, `low` and `high`, or None where there is no champion.
    """
    measured = {name: verdict["models"].get(name) for name in MODELS}
    rows = []
    for benchmark in verdict["models"]["candidate"]["benchmarks"]:
        for metric in METRICS:
            found = {
                name: metrics and metrics["benchmarks"][benchmark][metric]
                for name, metrics in measured.items()
            }
            # A figure that one of them lacks, as a perplexity beyond all numbers, is left out.
            if all(found[name] is not None for name, metrics in measured.items() if metrics):
                rows.append({"benchmark": benchmark, "metric": metric, **found})
    return rows
