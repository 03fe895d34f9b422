"""The kind `quality falling`."""

import statistics

from tasks.drift.kinds import KINDS, Shift
from tasks.drift.kinds.contract import INPUT, moved

_BETTER = {"loss": -1, "confidence": 1, "feedback": 1}


@KINDS.register
class QualityFalling:
    """Loss, confidence or people's feedback got worse."""

    name = "quality falling"
    remedy = (
        "Read some of the worst rows. If the input is as it was, what is right may have changed: "
        "label these rows and retrain; if it began with a promotion, `perpetune rollback`."
    )
    groups = frozenset({"loss", "confidence", "feedback"})
    order = 5

    def recognise(self, shift: Shift) -> str | None:
        """Names the signals that got worse."""
        parts = []
        for name, better in _BETTER.items():
            before, now = shift.numbers(name)
            if name not in shift.rejected or not before or not now:
                continue
            was, new = statistics.fmean(before), statistics.fmean(now)
            if (new - was) * better < 0:
                parts.append(f"{name} {moved(f'{was:.3g}', f'{new:.3g}')}")
        if not parts:
            return None
        changed = sorted(shift.rejected & INPUT)
        where = f"beside a change of {', '.join(changed)}" if changed else "on unchanged input"
        return f"A loss of quality {where}; on average: {', '.join(parts)}."
