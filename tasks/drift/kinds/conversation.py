"""The kind `other conversations`."""

import statistics

from tasks.drift.kinds import KINDS, Shift
from tasks.drift.kinds.contract import moved, percent
from tasks.records import Record


@KINDS.register
class OtherConversations:
    """What is said before the last question changed, or how much."""

    name = "other conversations"
    remedy = (
        "Give training whole conversations of this shape (label some of these rows), and see that "
        "`tune.max_length` leaves room for them."
    )
    groups = frozenset({"conversation"})
    order = 45

    def recognise(self, shift: Shift) -> str | None:
        """Counts turns."""
        before, now = (
            [_turns(record) for record in side] for side in (shift.reference, shift.current)
        )
        parts = [
            f"turns {moved(*(f'{statistics.fmean(side):.1f}' for side in (before, now)))}",
            "rows with earlier turns "
            + moved(*(percent(sum(n > 1 for n in side) / len(side)) for side in (before, now))),
        ]
        return f"By conversation: {', '.join(parts)}."


def _turns(record: Record) -> int:
    """The user's turns."""
    return sum(turn.role == "user" for turn in record.turns) or 1
