"""The histogram of the records' lengths, as figures that the page draws as SVG."""

from collections.abc import Callable, Sequence
from typing import Any

from tasks.curate.results import Bin, TokenFigures

WIDTH, HEIGHT = 1000, 250
_LEFT, _RIGHT, _TOP, _GROUND = 10, 990, 66, 215
_ROW = 16
"""Height of a line of labels above the bars."""
_LETTER = 6.4
"""Approximate width of a letter."""
_FAR = 1.5
"""A bound this many times beyond the longest record would only squeeze the drawing."""


def round_up(value: float) -> int:
    """The next of 1, 2, 5, 10, 20, … that is no smaller."""
    unit = 1
    while True:
        for step in (1, 2, 5):
            if step * unit >= value:
                return step * unit
        unit *= 10


def draw(tokens: TokenFigures, minimum: int, maximum: int) -> dict[str, Any]:
    """Bars, ticks and marks (percentiles, and bounds where they are near) of the histogram.

    Args:
        tokens: the report's.
        minimum: fewest tokens kept.
        maximum: most tokens kept.
    """
    bins = tokens.bins
    width = bins[0].high + 1 - bins[0].low
    low, high = bins[0].low, bins[-1].high + 1
    bounds = [
        ("shortest kept", minimum, minimum > 0 and low - minimum <= (high - low) / 4),
        ("longest kept", maximum, maximum <= _FAR * high),
    ]
    near = [(name, value) for name, value, is_near in bounds if is_near]
    low = min([low, *(value for _, value in near)])
    high = max([high, *(value for _, value in near)])
    scale = (_RIGHT - _LEFT) / (high - low)

    def x(value: float) -> float:
        return round(float(_LEFT + (value - low) * scale), 1)

    step = max(round_up((high - low) / 8), width)
    first = -(-low // step) * step
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "top": _TOP,
        "ground": _GROUND,
        "left": _LEFT,
        "right": _RIGHT,
        "bars": _bars(bins, x, round(max(width * scale - 1, 1), 1)),
        "marks": _marks(tokens, near, x),
        "ticks": [{"at": value, "x": x(value)} for value in range(first, high + 1, step)],
        "tallest": max(bin.records for bin in bins),
    }


def _bars(bins: Sequence[Bin], x: Callable[[float], float], width: float) -> list[dict[str, Any]]:
    """The bars, each with its place in the drawing."""
    tallest = max(bin.records for bin in bins)
    bars = []
    for bin in bins:
        height = (_GROUND - _TOP) * bin.records / tallest
        if bin.records:
            height = max(height, 1.5)  # a single record still shows
        place = {"x": x(bin.low) + 0.5, "y": round(_GROUND - height, 1)}
        bars.append(bin.to_json() | place | {"width": width, "height": round(height, 1)})
    return bars


def _marks(
    tokens: TokenFigures, bounds: Sequence[tuple[str, int]], x: Callable[[float], float]
) -> list[dict[str, Any]]:
    """Lines with labels for percentiles and bounds, no label over another."""
    named = [("5 %", tokens.p5), ("median", tokens.median)]
    named += [("95 %", tokens.p95), ("99 %", tokens.p99)]
    marks: list[dict[str, Any]] = [
        {"at": value, "label": f"{name}: {value:,}", "bound": is_bound}
        for values, is_bound in ((named, False), (bounds, True))
        for name, value in values
    ]
    ends: list[float] = []
    for mark in sorted(marks, key=lambda mark: mark["at"]):
        length = _LETTER * len(mark["label"]) + 12
        mark["x"] = x(mark["at"])
        mark["flipped"] = mark["x"] + length > WIDTH
        begin = mark["x"] - length if mark["flipped"] else mark["x"]
        row = next((row for row, end in enumerate(ends) if end <= begin), len(ends))
        ends[row : row + 1] = [max(mark["x"], begin + length)]
        mark["y"] = 12 + _ROW * row
    return marks
