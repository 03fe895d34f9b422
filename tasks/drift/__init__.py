"""Does this window of traffic still look like what the champion was trained on?

`detect` compares the prompts of two sets of records by one permutation test and says so in plain
figures, with an HTML report on request. `write_reference` makes the set that a registered version
is watched against. Traffic needs no labels.
"""

from tasks.drift.detection import detect
from tasks.drift.reference import write_reference

__all__ = ["detect", "write_reference"]
