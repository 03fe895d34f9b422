"""The kind `labels changed`."""

from tasks.drift.kinds import KINDS, Shift
from tasks.drift.kinds.contract import moved, percent, quote, shares
from tasks.records import Record

_NAMED = 3


@KINDS.register
class LabelsChanged:
    """The classes or ratings come in other proportions."""

    name = "labels changed"
    remedy = (
        "Check a few by hand: if the instructions to those who label changed, relabel; if the "
        "world changed, retrain with these rows."
    )
    groups = frozenset({"label"})
    order = 55

    def recognise(self, shift: Shift) -> str | None:
        """Names the labels whose share changed most."""
        before, now = map(shares, shift.texts(_label))
        if not before or not now:
            return None
        changes = {name: now.get(name, 0) - before.get(name, 0) for name in before | now}
        names = sorted(changes, key=lambda name: (-abs(changes[name]), name))[:_NAMED]
        parts = [
            f"{quote(name)} {moved(percent(before.get(name, 0)), percent(now.get(name, 0)))}"
            for name in names
        ]
        return f"Labels: {', '.join(parts)}."


def _label(record: Record) -> str | None:
    label = getattr(record, "label", None)
    return None if label is None else str(label)
