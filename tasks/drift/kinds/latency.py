"""The kind `other response times`."""

import statistics

from tasks.drift.kinds import KINDS, Shift
from tasks.drift.kinds.contract import moved


@KINDS.register
class OtherResponseTimes:
    """The time that answers take changed."""

    name = "other response times"
    remedy = "Look at the server and its load; retraining does not help."
    groups = frozenset({"latency"})
    order = 70

    def recognise(self, shift: Shift) -> str | None:
        """Names the medians."""
        for key in ("latency", "seconds"):
            before, now = shift.numbers(key)
            if before and now:
                values = (f"{statistics.median(side):.3g}" for side in (before, now))
                return f"Median {key} {moved(*values)}."
        return None
