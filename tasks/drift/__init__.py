"""Does this window of traffic still look like what the champion was trained on?

`detect` compares the prompts of two sets of records by one permutation test and explains the
result in plain figures, with an HTML report on request. `look` decides over the stream of windows
as one, with one chance of a false alarm in a year. `write_reference` writes the set that
traffic of a registered version is compared with. Traffic needs no labels.
"""

from typing import TYPE_CHECKING

from tasks.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tasks.drift.detection import detect
    from tasks.drift.reference import HELD_OUT, write_reference
    from tasks.drift.results import DriftResult, DriftTest, RowCounts
    from tasks.drift.sequence import Look, Promotion, ScaleLook, look
    from tasks.drift.timeline import draw_timeline, write_timeline

__all__ = [
    "HELD_OUT",
    "DriftResult",
    "DriftTest",
    "Look",
    "Promotion",
    "RowCounts",
    "ScaleLook",
    "detect",
    "draw_timeline",
    "look",
    "write_reference",
    "write_timeline",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "DriftResult": "results",
        "DriftTest": "results",
        "HELD_OUT": "reference",
        "Look": "sequence",
        "RowCounts": "results",
        "ScaleLook": "sequence",
        "detect": "detection",
        "look": "sequence",
        "Promotion": "sequence",
        "draw_timeline": "timeline",
        "write_reference": "reference",
        "write_timeline": "timeline",
    },
)
