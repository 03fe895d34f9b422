"""Plots of a sweep: every trial's curve, and the map of rank × learning rate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from tasks.rendering import plots
from tasks.tune.sweep.results import Trial

# Ten colours; trials that have the same one have different dashes.
_COLOURS = [f"C{i}" for i in range(10)]
_DASHES: Any = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)))
_SHADES = matplotlib.colormaps["viridis_r"]
_AXES = ("rank", "learning_rate", "alpha")
_MAX_LABELLED = 12  # more cells side by side are too narrow for text


def draw_curves(
    trials: Sequence[Trial],
    curves: Mapping[int, Sequence[Mapping[str, Any]]],
    best: int,
    base_loss: float,
    path: Path,
) -> None:
    """Validation loss over steps, a line for each trial; pruned trials end in a cross.

    All begin at step 0 with the base's loss.

    Args:
        trials: at least one.
        curves: the rows of each trial's `curve.jsonl`, by its number.
        best: number of the best trial, which has the widest line.
        base_loss: before any training.
        path: PNG to write.
    """
    labels = _labels(trials)
    width = 9 + 0.08 * max(0, max(map(len, labels)) - 24)
    evaluated = {0}
    with plots.style():
        figure = Figure(figsize=(width, max(4.8, 0.6 + 0.24 * len(trials))), layout="constrained")
        axes = figure.subplots()
        for i, (trial, label) in enumerate(zip(trials, labels, strict=True)):
            rows = [row for row in curves[trial.number] if "validation_loss" in row]
            if rows:
                steps = [0, *(row["step"] for row in rows)]
                losses = [base_loss, *(row["validation_loss"] for row in rows)]
                evaluated.update(steps)
                chosen = trial.number == best
                look = {"color": _COLOURS[i % 10], "linestyle": _DASHES[i // 10 % len(_DASHES)]}
                axes.plot(
                    steps, losses, **look, label=label + " (best)" * chosen, marker="o",
                    markevery=slice(1, None), linewidth=3 if chosen else 1.5,
                    markersize=5 if chosen else 3.5, zorder=2 + chosen,
                )  # fmt: skip
                if trial.state == "pruned":
                    axes.plot(
                        steps[-1], losses[-1], color=look["color"], marker="X", markersize=9,
                        markeredgecolor="white", zorder=4,
                    )  # fmt: skip
        axes.set_title("Validation loss of each trial (✕: stopped early)")
        axes.set_xlabel("optimiser step")
        axes.set_ylabel("validation loss (nats per learned token)")
        axes.set_xlim(left=0)
        axes.set_xticks(_ticks(sorted(evaluated)))
        axes.axhline(
            base_loss, color=plots.MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=1,
            label=f"base, {base_loss:.3f}",
        )  # fmt: skip
        axes.grid(axis="y")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        plots.save(figure, path)


def draw_heatmap(trials: Sequence[Trial], best: int, base_loss: float, path: Path) -> None:
    """Best validation loss by rank and learning rate; the best trial is framed.

    Where more is varied, each combination of the rest has a panel; colours mean the same in all.
    A trial whose method has no rank is as high as all ranks.

    Args:
        trials: at least one that has a loss.
        best: number of the best trial.
        base_loss: before any training; part of the title.
        path: PNG to write.
    """
    # A trial that failed before its first step has no rate where `auto` sets it.
    trials = [trial for trial in trials if trial.params["learning_rate"] is not None]
    panels: dict[str, list[Trial]] = {}
    for trial, words in zip(trials, _other_params(trials), strict=True):
        panels.setdefault(words, []).append(trial)
    rates, ranks = _values(trials, "learning_rate"), _values(trials, "rank")
    losses = [trial.validation_loss for trial in trials if trial.validation_loss is not None]
    scale = Normalize(min(losses), max(losses) if max(losses) > min(losses) else min(losses) + 1)
    across = min(len(panels), 2 if len(panels) <= 4 else 3)
    down = math.ceil(len(panels) / across)
    width, height = 1.25 * max(3, min(len(rates), _MAX_LABELLED)), 0.8 * max(2, len(ranks))
    size = (min(2.6 + across * width, 18), min(1.4 + down * (height + 0.6), 16))
    with plots.style(axes_spines_left=False, axes_spines_bottom=False):
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08))
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for i, (words, panel) in enumerate(panels.items()):
            # A sampler's rates are each tried once: those of other panels would leave gaps.
            own = rates if len(rates) <= _MAX_LABELLED else _values(panel, "learning_rate")
            axes = grid.flat[i]
            _Cells(axes, own, ranks, best, scale).draw(panel)
            if words:
                axes.set_title(words, fontsize=10, fontweight="normal", pad=4)
            if i + across >= len(panels):
                axes.set_xlabel("peak learning rate")
            if ranks and i % across == 0:
                axes.set_ylabel("rank")
        figure.suptitle(
            f"Validation loss by configuration (framed: best; base: {base_loss:.3f})",
            x=0.01, ha="left", fontsize=12, fontweight="bold",
        )  # fmt: skip
        bar = figure.colorbar(ScalarMappable(scale, _SHADES), ax=grid, pad=0.02, aspect=20 * down)
        bar.outline.set_visible(False)
        bar.set_label("nats per learned token")
        plots.save(figure, path)


@dataclass(frozen=True, slots=True)
class _Cells:
    """A panel of the heatmap: a column for each learning rate, a row for each rank."""

    axes: Axes
    rates: Sequence[float]
    ranks: Sequence[int]
    best: int
    scale: Normalize

    def draw(self, trials: Sequence[Trial]) -> None:
        rows = max(1, len(self.ranks))
        for trial in trials:
            self._draw_cell(trial, rows)
        axes = self.axes
        axes.set_xlim(-0.55, len(self.rates) - 0.45)
        axes.set_ylim(-0.55, rows - 0.45)
        axes.set_xticks(range(len(self.rates)), [f"{rate:.2g}" for rate in self.rates])
        if any(trial.params["rank"] is not None for trial in trials):
            axes.set_yticks(range(len(self.ranks)), [str(rank) for rank in self.ranks])
        else:
            axes.set_yticks([])
        axes.tick_params(length=0)

    def _draw_cell(self, trial: Trial, rows: int) -> None:
        x, rank = self.rates.index(trial.params["learning_rate"]), trial.params["rank"]
        low, height = (0, rows) if rank is None else (self.ranks.index(rank), 1)
        loss, chosen = trial.validation_loss, trial.number == self.best
        shade = None if loss is None else float(self.scale(loss))
        cell = Rectangle(
            (x - 0.48, low - 0.46), 0.96, height - 0.08, linewidth=3 if chosen else 0,
            facecolor=plots.EMPTY if shade is None else _SHADES(shade),
            edgecolor=plots.ACCENT, zorder=1 + chosen,
        )  # fmt: skip
        self.axes.add_patch(cell)
        if len(self.rates) <= _MAX_LABELLED:
            dark = shade is not None and shade > 0.45
            self.axes.text(
                x, low + (height - 1) / 2, self._text(trial), ha="center", va="center",
                color="white" if dark else plots.INK, weight="bold" if chosen else "normal",
                zorder=4,
            )  # fmt: skip

    def _text(self, trial: Trial) -> str:
        text = "failed" if trial.validation_loss is None else f"{trial.validation_loss:.3f}"
        if trial.state == "pruned":
            after = f"after {trial.steps} step{'s' * (trial.steps != 1)}"
            text += f"\nstopped {after}" if len(self.rates) <= 4 else f"\nstopped\n{after}"
        return text


def _ticks(steps: Sequence[int]) -> list[int]:
    """At most a dozen of these steps, evenly spread, the last one among them."""
    distance = math.ceil(len(steps) / 12)
    return [*reversed([*reversed(steps)][::distance])]


def _labels(trials: Sequence[Trial]) -> list[str]:
    labels = []
    for trial, words in zip(trials, _other_params(trials), strict=True):
        rank, rate = trial.params["rank"], trial.params["learning_rate"]
        parts = [] if rank is None else [f"rank {rank}"]
        parts += [] if rate is None else [f"rate {rate:.2g}"]
        labels.append(f"{trial.number}: " + ", ".join([*parts, words] if words else parts))
    return labels


def _other_params(trials: Sequence[Trial]) -> list[str]:
    """For each trial what is varied besides rank and learning rate, in words."""
    params = [
        {name: value for name, value in trial.params.items() if name not in _AXES}
        | {"alpha": alpha}
        for trial, alpha in zip(trials, _alphas(trials), strict=True)
    ]
    varied = [name for name in params[0] if len({str(values[name]) for values in params}) > 1]
    varied.sort(key=lambda name: name != "method")
    return [
        ", ".join(
            f"{name.replace('_', ' ')} {_text(values[name])}".removeprefix("method ")
            for name in varied
            if values[name] is not None
        )
        for values in params
    ]


def _alphas(trials: Sequence[Trial]) -> list[Any]:
    """What sets alpha apart: nothing where one number or one multiple of the rank is common."""
    known = [(trial.params["alpha"], trial.params["rank"]) for trial in trials]
    given = [(alpha, rank) for alpha, rank in known if alpha is not None]
    multiples = {alpha / rank for alpha, rank in given if rank}
    if len({alpha for alpha, _ in given}) == 1 or len(multiples) == 1:
        return [None] * len(known)
    rules = [{rank: "r", 2 * rank: "2r"} if rank else {} for _, rank in known]
    return [rule.get(alpha, alpha) for (alpha, _), rule in zip(known, rules, strict=True)]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(trials: Sequence[Trial], name: str) -> list[Any]:
    return sorted({trial.params[name] for trial in trials} - {None})
