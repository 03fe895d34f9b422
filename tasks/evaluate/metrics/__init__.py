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

__all__ = ["METRICS", "Item", "Metric", "named", "selected"]

METRICS: PluginRegistry[Metric] = PluginRegistry("metric", "tasks.evaluate.metrics")


class _Foreign(Metric):
    """A figure that another program has computed, such as lm-evaluation-harness."""

    unit = ""
    needs = "answers"

    def __init__(self, name: str) -> None:
        self.name = name
        self.label = name.replace("_", " ")
        self.better = "lower" if "perplexity" in name or name.endswith("_byte") else "higher"

    def score(self, item: Item) -> None:  # noqa: ARG002
        """None: only the figure is known."""
        return


def named(name: str) -> Metric:
    """What is known of a figure by its name, of one that no metric of ours has computed as well."""
    return METRICS.members().get(name) or _Foreign(name)


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
