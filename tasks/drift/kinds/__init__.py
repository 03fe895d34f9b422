"""Kinds of shift in words, each with a remedy: a file for each kind.

    @KINDS.register
    class Slower:
        name = "slower answers"
        remedy = "Look at the server and its load; retraining does not help."
        groups = frozenset({"latency"})
        order = 90

        def recognise(self, shift: Shift) -> str | None: ...

They explain a decision and never make one: a kind is named where the test of one of its feature
groups rejected. One shift may be of several kinds.
"""

import logging

from tasks.core.plugins import PluginRegistry
from tasks.drift.kinds.contract import Shift, ShiftKind
from tasks.drift.results import Kind

__all__ = ["KINDS", "Shift", "ShiftKind", "name_shifts"]

KINDS: PluginRegistry[ShiftKind] = PluginRegistry("kind of shift", "tasks.drift.kinds")

log = logging.getLogger(__name__)

_OTHER = "Look at the examples and words that show the difference, and label some of these rows."


def name_shifts(shift: Shift) -> tuple[Kind, ...]:
    """The kinds that a comparison shows; with drift there is always at least one."""
    found = []
    for kind in sorted(KINDS, key=lambda kind: (kind.order, kind.name)):
        if kind.groups and not (shift.drift and kind.groups & shift.rejected):
            continue
        try:
            sentence = kind.recognise(shift)
        except Exception:  # an explanation that fails must not stop the watch
            log.warning("the kind of shift %s failed itself", kind.name, exc_info=True)
            continue
        if sentence is not None:
            found.append(Kind(name=kind.name, sentence=sentence, remedy=kind.remedy))
    if shift.drift and not found:
        names = ", ".join(sorted(shift.rejected)) or "all feature groups together"
        found.append(Kind(name="other", sentence=f"What differs is: {names}.", remedy=_OTHER))
    return tuple(found)
