"""The figures of the demonstration of drift: `python benchmarks/drift_recovery.py WATCHED PICTURE`.

WATCHED is what `perpetune watch --retrain --json` printed; the picture shows the loss of base,
champion and candidate on each benchmark, with their intervals.
"""

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tasks.rendering import plots

MODELS = ("base", "champion", "candidate")


def main() -> None:
    """Print the figures and write the picture.

    Raises:
        SystemExit: the demonstration did not show what it is for.
    """
    watched, picture = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    for window in watched["windows"]:
        print(f"  {Path(window['window']).name:28} {window['status']:12} {window['why']}")
    outcome = watched["retrain"]
    if outcome is None:
        raise SystemExit("no window has drifted, so that no round ran")
    figures = outcome["verdict"]["models"]
    names = list(figures["candidate"]["benchmarks"])
    print(f"\n  {'loss on':28} {'base':>8} {'champion':>9} {'candidate':>10}  recovered")
    for name in names:
        base, champion, candidate = (
            figures[model]["benchmarks"][name]["loss"]["value"] for model in MODELS
        )
        recovered = champion - candidate
        print(f"  {name:28} {base:8.3f} {champion:9.3f} {candidate:10.3f}  {recovered:+.3f}")
    for gate in outcome["verdict"]["gates"]:
        print(f"  gate {gate['name']}: {gate.get('outcome', gate.get('passed'))}")
    plots.save(draw(figures, names), picture)
    print(f"\n  picture: {picture.resolve()}")


def draw(figures: dict[str, Any], names: list[str]) -> Figure:
    """Bars of the losses, a group for each benchmark."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for place, model in enumerate(MODELS):
        losses = [figures[model]["benchmarks"][name]["loss"] for name in names]
        values = [loss["value"] for loss in losses]
        spread = [
            [loss["value"] - (loss["low"] or loss["value"]) for loss in losses],
            [(loss["high"] or loss["value"]) - loss["value"] for loss in losses],
        ]
        positions = [number + 0.27 * (place - 1) for number in range(len(names))]
        axes.bar(positions, values, width=0.25, label=model, yerr=spread, capsize=3)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("loss (nats a token)")
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
