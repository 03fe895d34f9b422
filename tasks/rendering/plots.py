"""The look of every plot: colours, type and lines, and how a figure becomes a PNG file."""

import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from tasks.core import files

INK, MUTED = "#1f2933", "#6b7785"
"""Colours of text, and of what is less important."""
ACCENT = "#d1495b"
"""Frame of the chosen one."""
GRID, EMPTY = "#e6eaee", "#eef1f4"
"""Colours of grid lines, and of cells without a value."""
_DPI = 130
_STYLE: Any = {
    "font.size": 10,
    "axes.axisbelow": True,
    "axes.edgecolor": "#c5ccd3",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlepad": 12,
    "grid.color": GRID,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


def style(**changes: Any) -> AbstractContextManager[None]:
    """The context in which to build a figure.

    Args:
        changes: matplotlib's rc parameters that differ, with `_` for the dots of their names.
    """
    return matplotlib.rc_context(
        _STYLE | {name.replace("_", "."): value for name, value in changes.items()}
    )


def svg(figure: Figure) -> str:
    """The figure as an SVG element for a page; equal figures give equal text."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "perpetune"}):
        figure.savefig(text, format="svg", dpi=_DPI, metadata={"Date": None, "Creator": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, atomically; equal figures give equal bytes."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=_DPI, metadata={"Software": None})
    with files.atomic_write(path) as file:
        file.write(data.getvalue())
