"""What is measured: a file for each metric, which nobody else knows by name.

A metric sees the losses and answers of one system (`tasks.evaluate.items.Item`), which are cached:
a new metric computes, and generates nothing anew. It then appears in `metrics.json`, the gates'
table, the review sheet, the model card, the plot, MLflow, DVC and the terminal.

CONTRIBUTING.md has an example.
"""

from collections.abc import Sequence

from tasks.core.plugins import PluginRegistry
from tasks.evaluate.items import Item
from tasks.evaluate.metrics.contract import Metric

__all__ = ["METRICS", "Item", "Metric", "selected"]

METRICS: PluginRegistry[Metric] = PluginRegistry("metric", "tasks.evaluate.metrics")


def selected(names: Sequence[str]) -> list[Metric]:
    """The metrics to compute: those named (`evaluate.metrics`), then all from outside Perpetune.

    Raises:
        BadInput: there is no metric of that name.
    """
    chosen = {name: METRICS.get(name) for name in names}
    for metric in METRICS:
        if not type(metric).__module__.startswith(f"{__name__}."):
            chosen.setdefault(metric.name, metric)
    return list(chosen.values())
