"""Pictures of a sweep: every trial's curve, and the map of rank × learning rate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from tasks import files

_INK, _QUIET = "#1f2933", "#6b7785"
_STYLE: Any = {
    "font.size": 10,
    "axes.edgecolor": "#c5ccd3",
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlepad": 12,
    "grid.color": "#e6eaee",
    "text.color": _INK,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
}
_COLOURS = matplotlib.colormaps["viridis"]


def draw_curves(
    trials: Sequence[Mapping[str, Any]],
    curves: Mapping[int, Sequence[Mapping[str, Any]]],
    best: int,
    path: Path,
) -> None:
    """Validation loss over steps, a line for each trial; pruned trials end in a cross.

    Args:
        trials: as in `sweep.json`.
        curves: the rows of each trial's `curve.jsonl`, by its number.
        best: number of the winner, which is drawn strongest.
        path: PNG to write.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9, 4.8), layout="constrained")
        axes = figure.subplots()
        for place, trial in enumerate(trials):
            points = [row for row in curves[trial["number"]] if "validation_loss" in row]
            if not points:
                continue
            won = trial["number"] == best
            steps = [row["step"] for row in points]
            losses = [row["validation_loss"] for row in points]
            colour = _COLOURS(place / max(1, len(trials) - 1) * 0.9)
            (line,) = axes.plot(steps, losses, color=colour, marker="o", label=_label(trial))
            line.set(linewidth=3 if won else 1.5, markersize=5 if won else 3.5, zorder=2 + won)
            if won:
                line.set_label(f"{_label(trial)} (best)")
            if trial["state"] == "pruned":
                (end,) = axes.plot(steps[-1], losses[-1], color=colour, marker="X", markersize=9)
                end.set(markeredgecolor="white", zorder=4)
        axes.set_title("Validation loss of each trial (✕: stopped early)")
        axes.set_xlabel("optimiser step")
        axes.set_ylabel("validation loss (nats per learned token)")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        _save(figure, path)


def draw_heatmap(trials: Sequence[Mapping[str, Any]], best: int, path: Path) -> None:
    """Best validation loss by rank and learning rate; the winner is framed.

    Args:
        trials: as in `sweep.json`.
        best: number of the winner.
        path: PNG to write.
    """
    ranks = sorted({trial["params"]["rank"] for trial in trials})
    rates = sorted({trial["params"]["learning_rate"] for trial in trials})
    losses = [trial["validation_loss"] for trial in trials if trial["validation_loss"] is not None]
    scale = Normalize(min(losses), max(losses) if max(losses) > min(losses) else min(losses) + 1)
    colours = matplotlib.colormaps["viridis_r"]
    with matplotlib.rc_context(_STYLE | {"axes.spines.left": False, "axes.spines.bottom": False}):
        size = (min(2.6 + 1.25 * max(3, len(rates)), 18), min(1.9 + 0.8 * max(2, len(ranks)), 12))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        for trial in trials:
            x = rates.index(trial["params"]["learning_rate"])
            y = ranks.index(trial["params"]["rank"])
            loss, won = trial["validation_loss"], trial["number"] == best
            shade = 0.0 if loss is None else scale(loss)
            cell = Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, linewidth=3 if won else 0)
            cell.set(facecolor="#eef1f4" if loss is None else colours(shade), zorder=1 + won)
            cell.set_edgecolor("#d1495b")
            axes.add_patch(cell)
            text = "failed" if loss is None else f"{loss:.3f}"
            if trial["state"] == "pruned":
                text += "\nstopped early"
            ink = "white" if shade > 0.45 else _INK
            weight = "bold" if won else "normal"
            if len(rates) <= 12:  # more cells are too narrow for words
                axes.text(x, y, text, ha="center", va="center", color=ink, weight=weight, zorder=4)
        axes.set_xlim(-0.55, len(rates) - 0.45)
        axes.set_ylim(-0.55, len(ranks) - 0.45)
        axes.set_xticks(range(len(rates)), [f"{rate:.2g}" for rate in rates])
        axes.set_yticks(range(len(ranks)), [str(rank) for rank in ranks])
        axes.tick_params(length=0)
        axes.set_title("Validation loss by configuration (framed: best)")
        axes.set_xlabel("peak learning rate")
        axes.set_ylabel("LoRA rank")
        bar = figure.colorbar(matplotlib.cm.ScalarMappable(scale, colours), ax=axes, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label("nats per learned token")
        _save(figure, path)


def _label(trial: Mapping[str, Any]) -> str:
    params = trial["params"]
    return f"{trial['number']}: rank {params['rank']}, rate {params['learning_rate']:.2g}"


def _save(figure: Figure, path: Path) -> None:
    with files.atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=130)
