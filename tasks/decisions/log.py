"""The decision log as an interface: append only, written before aliases move."""

from collections.abc import Sequence
from typing import Protocol

from tasks.decisions.values import Decision


class DecisionLog(Protocol):
    """Where decisions are written down.

    A decision is begun before any alias moves and finished after all have. So what a crash leaves
    is a begun decision, which whoever writes next applies and finishes.
    """

    def begin(self, decision: Decision) -> str:
        """Write a decision down; returns its key in the log."""
        ...

    def finish(self, key: str) -> None:
        """Note that a decision's aliases and tags are set."""
        ...

    def begun(self) -> Sequence[tuple[str, Decision]]:
        """Key and decision of those that are begun and not finished, oldest first."""
        ...

    def history(self) -> Sequence[Decision]:
        """Every decision, finished or not, newest first."""
        ...
