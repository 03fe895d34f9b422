"""Base, champion and candidate in one picture, with the intervals of every figure."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.evaluate.comparison import METRICS, MODELS, comparison
from tasks.rendering.templates import label
from tasks.settings import Settings

# Told apart by colour (Okabe & Ito 2008) and by shape.
_STYLES = {"base": ("#6b6b6b", "o"), "champion": ("#0072b2", "s"), "candidate": ("#d55e00", "D")}


def write(verdict: Mapping[str, Any], path: Path, settings: Settings) -> None:
    """Draw a panel for each metric of `verdict`, and in it a row for each benchmark, as PNG."""
    from matplotlib.figure import Figure

    rows = comparison(verdict)
    # Perplexity says nothing that the loss beside it does not.
    shown = [name for name in METRICS if name != "perplexity"]
    shown = [name for name in shown if any(row["metric"] == name for row in rows)]
    models = [name for name in MODELS if name in verdict["models"]]
    benchmarks = list(dict.fromkeys(row["benchmark"] for row in rows))
    height = 1.3 + 0.28 * (len(models) + 1) * len(benchmarks)
    figure = Figure(figsize=(0.8 + 4 * len(shown), height), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for panel, metric in zip(panels, shown, strict=True):
        _panel(panel, metric, [row for row in rows if row["metric"] == metric], models, benchmarks)
        if panel is not panels[0]:
            panel.tick_params(labelleft=False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(models), frameon=False, fontsize=9
    )
    figure.suptitle(
        f"{settings.project.name}: {100 * settings.judge.confidence:g}% intervals", fontsize=10
    )
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    with files.atomic_write(path) as file:
        file.write(data.getvalue())


def _panel(
    panel: Any, metric: str, rows: list[dict[str, Any]], models: list[str], benchmarks: list[str]
) -> None:
    step = 1 / (len(models) + 1)
    for order, model in enumerate(models):
        colour, shape = _STYLES[model]
        found = [(row[model], benchmarks.index(row["benchmark"])) for row in rows]
        values = [figures["value"] for figures, _ in found]
        heights = [place + (order + 1) * step - 0.5 for _, place in found]
        whiskers = [
            # Rounding may put an estimate a hair outside its interval.
            [max(0.0, figures["value"] - figures["low"]) for figures, _ in found],
            [max(0.0, figures["high"] - figures["value"]) for figures, _ in found],
        ]
        panel.errorbar(
            values, heights, xerr=whiskers, fmt=shape, color=colour, label=model, capsize=3,
            markersize=5, linewidth=1.5,
        )  # fmt: skip
        for value, height in zip(values, heights, strict=True):
            panel.annotate(
                f"{value:.3g}", (value, height), xytext=(0, 5), textcoords="offset points",
                ha="center", fontsize=7, color=colour,
            )  # fmt: skip
    for place in range(1, len(benchmarks)):
        panel.axhline(place - 0.5, color="#dddddd", linewidth=0.8)
    panel.set_yticks(range(len(benchmarks)), [name.replace("$", r"\$") for name in benchmarks])
    panel.set_ylim(len(benchmarks) - 0.5, -0.5)
    panel.set_title(f"{label(metric)} ({METRICS[metric]})", fontsize=9, loc="left")
    panel.tick_params(labelsize=8)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", color="#eeeeee")
    panel.set_axisbelow(True)
    panel.margins(x=0.1)
    if metric != "loss" and not any(row[model]["high"] for row in rows for model in models):
        panel.set_xlim(-0.02, 1)  # all zero: no scale comes from the data
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
