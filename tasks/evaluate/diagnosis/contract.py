"""What every diagnostic is, and what it sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tasks.evaluate.diagnosis.course import Course
from tasks.evaluate.diagnosis.estimate import Estimate, mean
from tasks.evaluate.gates import Measured
from tasks.evaluate.items import Item

Said: TypeAlias = tuple[str, str]
"""What was found, with its figures; what to do about it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The items of every system, and the course of the training."""

    measured: Measured
    course: Course | None

    def pairs(self, benchmarks: Sequence[str], *, answered: bool) -> list[tuple[Item, Item]]:
        """Items of the candidate beside those of the reference."""
        items, reference = self.measured.items, self.measured.reference
        found = [
            pair
            for name in benchmarks
            for pair in zip(items["candidate"][name], items[reference][name], strict=True)
        ]
        return [pair for pair in found if not answered or all(item.answered for item in pair)]


class Diagnostic(Protocol):
    """A test for one thing that can go wrong.

    A class with this as its base defines the attributes, `find`, and a docstring with the test. It
    is silent where the figures do not show what it looks for.
    """

    name: str
    """Key in files, in snake_case."""
    subject: str
    """What it looks for, in words."""

    def find(self, seen: Seen) -> Said | None:
        """What was found; None: nothing is shown."""
        ...


def difference(
    pairs: Sequence[tuple[Item, Item]], figure: Callable[[Item], float]
) -> Estimate | None:
    """Mean of the paired differences of a figure, the first item's less the second's."""
    return mean(
        [figure(ours) - figure(theirs) for ours, theirs in pairs],
        [ours.group for ours, _ in pairs],
    )
