"""Pictures of a sweep: every trial's curve, and the map of rank × learning rate."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from tasks.core import files

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
# Ten colours that neighbours do not share; the same colour again has another stroke.
_COLOURS = [f"C{number}" for number in range(10)]
_STROKES: Any = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)))
_AXES = ("rank", "learning_rate", "alpha")
_READABLE = 12  # more cells side by side are too narrow for words


def draw_curves(
    trials: Sequence[Mapping[str, Any]],
    curves: Mapping[int, Sequence[Mapping[str, Any]]],
    best: int,
    base_loss: float,
    path: Path,
) -> None:
    """Validation loss over steps, a line for each trial; pruned trials end in a cross.

    All begin from the base's loss, at step 0.

    Args:
        trials: as in `sweep.json`.
        curves: the rows of each trial's `curve.jsonl`, by its number.
        best: number of the winner, which is drawn strongest.
        base_loss: before any training.
        path: PNG to write.
    """
    with matplotlib.rc_context(_STYLE):
        labels = [_label(*each) for each in zip(trials, _others(trials), strict=True)]
        longest = max(map(len, labels))
        size = (9 + 0.08 * max(0, longest - 24), max(4.8, 0.6 + 0.24 * len(trials)))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        evaluated = {0}
        for place, (trial, label) in enumerate(zip(trials, labels, strict=True)):
            points = [row for row in curves[trial["number"]] if "validation_loss" in row]
            if not points:
                continue
            won = trial["number"] == best
            steps = [0, *(row["step"] for row in points)]
            losses = [base_loss, *(row["validation_loss"] for row in points)]
            evaluated.update(steps)
            colour = _COLOURS[place % len(_COLOURS)]
            (line,) = axes.plot(steps, losses, color=colour, marker="o", markevery=slice(1, None))
            line.set_linestyle(_STROKES[place // len(_COLOURS) % len(_STROKES)])
            line.set(linewidth=3 if won else 1.5, markersize=5 if won else 3.5, zorder=2 + won)
            line.set_label(label + " (best)" * won)
            if trial["state"] == "pruned":
                (end,) = axes.plot(steps[-1], losses[-1], color=colour, marker="X", markersize=9)
                end.set(markeredgecolor="white", zorder=4)
        axes.set_title("Validation loss of each trial (✕: stopped early)")
        axes.set_xlabel("optimiser step")
        axes.set_ylabel("validation loss (nats per learned token)")
        axes.set_xlim(left=0)
        axes.set_xticks(_spread(sorted(evaluated)))
        base = axes.axhline(base_loss, color=_QUIET, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        base.set_label(f"base, {base_loss:.3f}")
        axes.grid(axis="y")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        _save(figure, path)


def draw_heatmap(
    trials: Sequence[Mapping[str, Any]], best: int, base_loss: float, path: Path
) -> None:
    """Best validation loss by rank and learning rate; the winner is framed.

    Where more is varied, each combination of the rest has a panel; colours mean the same in all.
    A trial whose method has no rank takes the height of all ranks.

    Args:
        trials: as in `sweep.json`.
        best: number of the winner.
        base_loss: before any training; stands in the title.
        path: PNG to write.
    """
    # One that failed before its first step has no rate where `auto` sets it.
    trials = [trial for trial in trials if trial["params"]["learning_rate"] is not None]
    panels: dict[str, list[Mapping[str, Any]]] = {}
    for trial, others in zip(trials, _others(trials), strict=True):
        panels.setdefault(others, []).append(trial)
    rates, ranks = _values(trials, "learning_rate"), _values(trials, "rank")
    losses = [trial["validation_loss"] for trial in trials if trial["validation_loss"] is not None]
    scale = Normalize(min(losses), max(losses) if max(losses) > min(losses) else min(losses) + 1)
    colours = matplotlib.colormaps["viridis_r"]
    across = min(len(panels), 2 if len(panels) <= 4 else 3)
    down = math.ceil(len(panels) / across)
    wide, high = 1.25 * max(3, min(len(rates), _READABLE)), 0.8 * max(2, len(ranks))
    size = (min(2.6 + across * wide, 18), min(1.4 + down * (high + 0.6), 16))
    with matplotlib.rc_context(_STYLE | {"axes.spines.left": False, "axes.spines.bottom": False}):
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08))
        every = figure.subplots(down, across, squeeze=False)
        for place, axes in enumerate(every.flat):
            axes.set_visible(place < len(panels))
        for place, (others, panel) in enumerate(panels.items()):
            axes = every.flat[place]
            # A sampler's rates are each tried once: those of other panels would leave gaps.
            own = rates if len(rates) <= _READABLE else _values(panel, "learning_rate")
            _draw_cells(axes, panel, own, ranks, best, lambda loss: (scale(loss), colours))
            if others:
                axes.set_title(others, fontsize=10, fontweight="normal", pad=4)
            if place + across >= len(panels):
                axes.set_xlabel("peak learning rate")
            if ranks and place % across == 0:
                axes.set_ylabel("rank")
        figure.suptitle(
            f"Validation loss by configuration (framed: best; base: {base_loss:.3f})",
            x=0.01, ha="left", fontsize=12, fontweight="bold",
        )  # fmt: skip
        shades = matplotlib.cm.ScalarMappable(scale, colours)
        bar = figure.colorbar(shades, ax=every, pad=0.02, aspect=20 * down)
        bar.outline.set_visible(False)
        bar.set_label("nats per learned token")
        _save(figure, path)


def _draw_cells(
    axes: Axes,
    trials: Sequence[Mapping[str, Any]],
    rates: Sequence[float],
    ranks: Sequence[int],
    best: int,
    shaded: Callable[[float], tuple[float, Colormap]],
) -> None:
    rows = max(1, len(ranks))
    for trial in trials:
        x, rank = rates.index(trial["params"]["learning_rate"]), trial["params"]["rank"]
        low, height = (0, rows) if rank is None else (ranks.index(rank), 1)
        y = low + (height - 1) / 2
        loss, won = trial["validation_loss"], trial["number"] == best
        shade, colours = (0.0, None) if loss is None else shaded(loss)
        cell = Rectangle((x - 0.48, low - 0.46), 0.96, height - 0.08, linewidth=3 if won else 0)
        cell.set(facecolor=colours(shade) if colours else "#eef1f4", zorder=1 + won)
        cell.set_edgecolor("#d1495b")
        axes.add_patch(cell)
        text = "failed" if loss is None else f"{loss:.3f}"
        if trial["state"] == "pruned":
            after = f"after {trial['steps']} step{'s' * (trial['steps'] != 1)}"
            text += f"\nstopped {after}" if len(rates) <= 4 else f"\nstopped\n{after}"
        ink = "white" if shade > 0.45 else _INK
        weight = "bold" if won else "normal"
        if len(rates) <= _READABLE:
            axes.text(x, y, text, ha="center", va="center", color=ink, weight=weight, zorder=4)
    axes.set_xlim(-0.55, len(rates) - 0.45)
    axes.set_ylim(-0.55, rows - 0.45)
    axes.set_xticks(range(len(rates)), [f"{rate:.2g}" for rate in rates])
    if any(trial["params"]["rank"] is not None for trial in trials):
        axes.set_yticks(range(len(ranks)), [str(rank) for rank in ranks])
    else:
        axes.set_yticks([])
    axes.tick_params(length=0)


def _spread(steps: Sequence[int]) -> list[int]:
    """At most a dozen of the steps after which somebody looked, the last one among them."""
    every = math.ceil(len(steps) / 12)
    return [*reversed([*reversed(steps)][::every])]


def _label(trial: Mapping[str, Any], others: str) -> str:
    params = trial["params"]
    rank = [] if params["rank"] is None else [f"rank {params['rank']}"]
    rest = [others] if others else []
    return f"{trial['number']}: " + ", ".join([*rank, f"rate {params['learning_rate']:.2g}", *rest])


def _others(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each trial what is varied besides rank and learning rate, in words."""
    params = [
        {name: each for name, each in trial["params"].items() if name not in _AXES}
        | {"alpha": alpha}
        for trial, alpha in zip(trials, _alphas(trials), strict=True)
    ]
    varied = [name for name in params[0] if len({str(each[name]) for each in params}) > 1]
    varied.sort(key=lambda name: name != "method")
    return [
        ", ".join(
            f"{name.replace('_', ' ')} {_word(each[name])}".removeprefix("method ")
            for name in varied
            if each[name] is not None
        )
        for each in params
    ]


def _alphas(trials: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What sets alpha apart: nothing where one number or one share of the rank is common to all."""
    known = [(trial["params"]["alpha"], trial["params"]["rank"]) for trial in trials]
    given = [(alpha, rank) for alpha, rank in known if alpha is not None]
    if 1 in (len({alpha for alpha, _ in given}), len({alpha / rank for alpha, rank in given})):
        return [None] * len(known)
    rules = [{rank: "r", 2 * rank: "2r"} if rank else {} for _, rank in known]
    return [rule.get(alpha, alpha) for (alpha, _), rule in zip(known, rules, strict=True)]


def _word(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(trials: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return sorted({trial["params"][name] for trial in trials} - {None})


def _save(figure: Figure, path: Path) -> None:
    with files.atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=130)
