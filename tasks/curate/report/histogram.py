"""The picture of the records' lengths, as figures that the page draws as SVG."""

from collections.abc import Mapping
from typing import Any

WIDTH, HEIGHT = 1000, 250
_LEFT, _RIGHT, _TOP, _GROUND = 10, 990, 66, 215
_ROW = 16
"""Height of a line of labels above the bars."""
_LETTER = 6.4
"""Width of a letter, about."""
_FAR = 1.5
"""A bound this many times beyond the longest record would only squeeze the picture."""


def round_up(value: float) -> int:
    """The next of 1, 2, 5, 10, 20, … that is no smaller."""
    unit = 1
    while True:
        for step in (1, 2, 5):
            if step * unit >= value:
                return step * unit
        unit *= 10


def draw(tokens: Mapping[str, Any], minimum: int, maximum: int) -> dict[str, Any]:
    """Bars, ticks and marks (percentiles, and bounds where they are near) of the histogram.

    Args:
        tokens: as `report.json` has it.
        minimum: fewest tokens kept.
        maximum: most tokens kept.
    """
    bins = tokens["bins"]
    width = bins[0]["to"] + 1 - bins[0]["from"]
    low, high = bins[0]["from"], bins[-1]["to"] + 1
    bounds = [
        ("shortest kept", minimum, minimum > 0 and low - minimum <= (high - low) / 4),
        ("longest kept", maximum, maximum <= _FAR * high),
    ]
    low = min([low, *(at for _, at, near in bounds if near)])
    high = max([high, *(at for _, at, near in bounds if near)])
    scale = (_RIGHT - _LEFT) / (high - low)
    tallest = max(one["records"] for one in bins)

    def x(at: float) -> float:
        return round(float(_LEFT + (at - low) * scale), 1)

    bars = []
    for one in bins:
        height = (_GROUND - _TOP) * one["records"] / tallest
        if one["records"]:
            height = max(height, 1.5)  # a single record still shows
        bars.append(
            one
            | {
                "x": x(one["from"]) + 0.5,
                "y": round(_GROUND - height, 1),
                "width": round(max(width * scale - 1, 1), 1),
                "height": round(height, 1),
            }
        )
    named = [("5 %", tokens["p5"]), ("median", tokens["median"])]
    named += [("95 %", tokens["p95"]), ("99 %", tokens["p99"])]
    marks = [{"at": at, "label": f"{name}: {at:,}", "bound": False} for name, at in named]
    marks += [
        {"at": at, "label": f"{name}: {at:,}", "bound": True} for name, at, near in bounds if near
    ]
    ends: list[float] = []
    for mark in sorted(marks, key=lambda mark: mark["at"]):
        length = _LETTER * len(str(mark["label"])) + 12
        mark["x"] = x(mark["at"])
        mark["flipped"] = mark["x"] + length > WIDTH
        begin = mark["x"] - length if mark["flipped"] else mark["x"]
        row = next((row for row, end in enumerate(ends) if end <= begin), len(ends))
        ends[row : row + 1] = [max(mark["x"], begin + length)]
        mark["y"] = 12 + _ROW * row
    step = max(round_up((high - low) / 8), width)
    first = -(-low // step) * step
    ticks = [{"at": at, "x": x(at)} for at in range(first, high + 1, step)]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "top": _TOP,
        "ground": _GROUND,
        "left": _LEFT,
        "right": _RIGHT,
        "bars": bars,
        "marks": marks,
        "ticks": ticks,
        "tallest": tallest,
    }
