"""Base, champion and candidate in one plot, with the intervals of every figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.evaluate.metrics import named
from tasks.evaluate.pages.systems import looks
from tasks.evaluate.pages.table import ComparisonRow, comparison_table
from tasks.evaluate.results import Verdict
from tasks.rendering.markdown import visible
from tasks.rendering.templates import label
from tasks.settings import Settings

_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "up": "^", "down": "v", "cross": "X"}
_COLUMNS = 4


def write(verdict: Verdict, path: Path, settings: Settings) -> None:
    """Draw a panel for each metric of `verdict`, and in it a row for each benchmark, as PNG.

    Derived metrics are left out: they show what the metric that they are derived from shows.
    """
    # Imported here: matplotlib takes a second, and not every evaluation is drawn.
    from matplotlib.figure import Figure

    from tasks.rendering import plots

    rows = [row for row in comparison_table(verdict) if named(row.metric).derived_from is None]
    shown = list(dict.fromkeys(row.metric for row in rows))
    systems = list(verdict.models)
    benchmarks = list(dict.fromkeys(row.benchmark for row in rows))
    columns = min(_COLUMNS, len(shown))
    lines = -(-len(shown) // columns)
    height = 0.9 + lines * (0.5 + 0.28 * (len(systems) + 1) * len(benchmarks))
    with plots.style(axes_spines_left=False, axes_titleweight="normal"):
        figure = Figure(figsize=(0.8 + 4 * columns, height), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False)
        for number, panel in enumerate(panels.flat):
            if number >= len(shown):
                panel.set_axis_off()
                continue
            of_metric = [row for row in rows if row.metric == shown[number]]
            _panel(panel, shown[number], of_metric, systems, benchmarks)
            if number % columns:
                panel.tick_params(labelleft=False)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=len(systems),
            frameon=False,
            fontsize=9,
        )
        figure.suptitle(
            f"{_plain(settings.project.name)}: {100 * settings.evaluate.confidence:g}% intervals",
            fontsize=10,
        )
        plots.save(figure, path)


def _panel(
    panel: Any,
    metric: str,
    rows: Sequence[ComparisonRow],
    systems: Sequence[str],
    benchmarks: Sequence[str],
) -> None:
    step = 1 / (len(systems) + 1)
    for order, look in enumerate(looks(systems)):
        system, colour, shape = look.name, look.light, _MARKERS[look.shape]
        shown = [row for row in rows if system in row.scores]
        found = [row.scores[system] for row in shown]
        values = [score.value for score in found]
        heights = [benchmarks.index(row.benchmark) + (order + 1) * step - 0.5 for row in shown]
        whiskers = [
            # Rounding may put an estimate slightly outside its interval.
            [0.0 if s.low is None else max(0.0, s.value - s.low) for s in found],
            [0.0 if s.high is None else max(0.0, s.high - s.value) for s in found],
        ]
        panel.errorbar(
            values, heights, xerr=whiskers, fmt=shape, color=colour, capsize=3, markersize=5,
            linewidth=1.5, label=_plain(label(system)),
        )  # fmt: skip
        for value, height in zip(values, heights, strict=True):
            panel.annotate(
                f"{value:.3g}", (value, height), xytext=(0, 5), textcoords="offset points",
                ha="center", fontsize=7, color=colour,
            )  # fmt: skip
    for place in range(1, len(benchmarks)):
        panel.axhline(place - 0.5, color="#dddddd", linewidth=0.8)
    panel.set_yticks(range(len(benchmarks)), list(map(_plain, benchmarks)))
    panel.set_ylim(len(benchmarks) - 0.5, -0.5)
    described = named(metric)
    panel.set_title(f"{described.label} ({described.about})", fontsize=9, loc="left")
    panel.tick_params(labelsize=8)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")
    panel.margins(x=0.1)
    if not any(score.high for row in rows for score in row.scores.values()):
        panel.set_xlim(-0.02, 1)  # all zero: no scale comes from the data


def _plain(text: str) -> str:
    """Without what matplotlib would take for a formula, and with every character that it has."""
    return visible(text).replace("$", r"\$")
