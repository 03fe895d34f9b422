"""The looks at traffic as a picture over windows: evidence, what was spent, alarms, promotions.

Imported late: matplotlib takes a second to import.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.drift.sequence import Look, Promotion
from tasks.rendering import plots
from tasks.rendering.templates import render

_QUIET, _SPENT = "#3a6ea5", "#2c7a4b"
_MANY = 300
"""From so many points on they are drawn as pixels: an SVG with each of them would be huge."""
_LISTED = 60


def write_timeline(
    path: Path, looks: Sequence[Look], promotions: Sequence[Promotion] = (), title: str = "Traffic"
) -> Path:
    """Write the picture of these looks, atomically; equal looks give equal bytes.

    Args:
        path: `.svg` or `.png` for the picture, `.html` for a self-contained page with it.
        looks: in order, over restarts; results are not needed.
        promotions: where the comparison began anew with another champion.
        title: of the page: the model's name, say.

    Returns:
        `path`.

    Raises:
        BadInput: the suffix is another.
    """
    with plots.style():
        figure = _figure(looks, promotions)
        if path.suffix == ".png":
            plots.save(figure, path)
        elif path.suffix == ".svg":
            files.write_text(path, plots.svg(figure))
        elif path.suffix == ".html":
            files.write_text(path, _page(figure, looks, promotions, title))
        else:
            raise BadInput(f"{path}: the time line is written as .svg, .png or .html")
    return path


def draw_timeline(looks: Sequence[Look], promotions: Sequence[Promotion] = ()) -> str:
    """The picture as an SVG element: see `write_timeline`."""
    with plots.style():
        return plots.svg(_figure(looks, promotions))


def _figure(looks: Sequence[Look], promotions: Sequence[Promotion]) -> Figure:
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    evidence, spent = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))
    _draw_evidence(evidence, looks)
    _draw_spent(spent, looks)
    for promotion in promotions:
        for axes in (evidence, spent):
            axes.axvline(promotion.before + 0.5, color=plots.MUTED, linewidth=1, linestyle=":")
        evidence.annotate(
            f"version {promotion.version}",
            (promotion.before + 0.5, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            color=plots.MUTED,
            fontsize=8,
        )
    spent.set_xlim(0.4, max(len(looks), 2) + 0.6)
    spent.xaxis.set_major_locator(MaxNLocator(integer=True))
    spent.set_xlabel("window")
    return figure


def _draw_evidence(axes: Axes, looks: Sequence[Look]) -> None:
    """How far below its threshold each p-value is; above the line is an alarm."""
    points = [
        (place, scale.alpha / scale.p_value, scale.windows, scale.drift)
        for place, found in enumerate(looks, 1)
        for scale in found.scales
        if scale.p_value > 0
    ]
    axes.set_yscale("log")
    axes.axhline(1, color=plots.ACCENT, linewidth=1.2)
    axes.set_title("Evidence of drift")
    axes.set_ylabel("threshold / p")
    axes.grid(axis="y")
    lowest = 1e-3
    if points:
        x, y, pooled, drift = (np.array(column) for column in zip(*points, strict=True))
        lowest = min(lowest, float(y.min()) / 3)
        for alarm, color, label in ((False, _QUIET, "quiet"), (True, plots.ACCENT, "alarm")):
            chosen = drift == alarm
            axes.scatter(
                x[chosen],
                y[chosen],
                s=(36 if alarm else 10) + 14 * np.log2(pooled[chosen]),
                color=color,
                alpha=1 if alarm else 0.55,
                linewidths=0,
                marker="D" if alarm else "o",
                rasterized=len(points) > _MANY,
                label=label,
            )
    undecided = [place for place, found in enumerate(looks, 1) if found.status == "undecidable"]
    if undecided:
        marks = [lowest] * len(undecided)
        axes.scatter(undecided, marks, marker="x", s=18, color=plots.MUTED, label="not decidable")
    axes.set_ylim(bottom=lowest / 2, top=max(10.0, axes.get_ylim()[1]))
    if points or undecided:
        legend = axes.legend(
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=3,
            frameon=False,
            fontsize=8,
            title="larger: more windows pooled",
            title_fontsize=8,
            scatterpoints=1,
        )
        for handle in legend.legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([28])


def _draw_spent(axes: Axes, looks: Sequence[Look]) -> None:
    """What was spent and released; the line falls where the comparison began anew."""
    places = np.arange(1, len(looks) + 1)
    released = [found.alpha_released for found in looks]
    axes.plot(places, released, color=plots.MUTED, linewidth=1, label="released", drawstyle="steps")
    axes.fill_between(
        places, [found.alpha_spent for found in looks], color=_SPENT, alpha=0.5, label="spent"
    )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("chance of a\nfalse alarm")
    axes.grid(axis="y")
    axes.legend(loc="lower right", ncols=2, frameon=False, fontsize=8)


def _page(
    figure: Figure, looks: Sequence[Look], promotions: Sequence[Promotion], title: str
) -> str:
    places = list(enumerate(looks, 1))
    return render(
        "tasks.drift",
        "timeline.html.j2",
        title=title,
        picture=Markup(plots.svg(figure)),  # noqa: S704 (ours: it holds numbers only)
        looks=looks,
        alarms=[(place, found) for place, found in places if found.status == "drift"],
        undecided=sum(found.status == "undecidable" for found in looks),
        promotions=promotions,
        newest=places[: -_LISTED - 1 : -1],
    )
