"""What a kind of shift is, and what it is recognised by."""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from tasks.drift.explanation import shifted_terms
from tasks.drift.results import DriftResult, DriftTest, Regime, ShiftedTerm
from tasks.records import Record

INPUT = frozenset({"wording", "form", "language", "system", "conversation", "frequency"})
"""Feature groups of what is asked; the others are of what was answered, and how well."""
_EXCERPT = 80


@dataclass(frozen=True)
class Shift:
    """A comparison that was decided, and the rows of both sides.

    Attributes:
        drift: whether the comparison is drift.
        alpha: its accepted chance of a false alarm.
        tests: of each feature group.
        regime: the regime of the reference whose rows these are.
        regimes: all regimes of the reference.
        reference: records of that regime.
        current: records of the window.
    """

    drift: bool
    alpha: float
    tests: tuple[DriftTest, ...]
    regime: str
    regimes: tuple[Regime, ...]
    reference: tuple[Record, ...]
    current: tuple[Record, ...]

    @classmethod
    def of(
        cls, result: DriftResult, reference: Sequence[Record], current: Sequence[Record]
    ) -> Self:
        """The shift that a result is about.

        Args:
            result: of the comparison.
            reference: records of the regime that it names, each as often as it was compared.
            current: records of the window, likewise.
        """
        return cls(
            drift=result.drift,
            alpha=result.alpha,
            tests=result.tests,
            regime=result.regime,
            regimes=result.regimes,
            reference=tuple(reference),
            current=tuple(current),
        )

    @functools.cached_property
    def rejected(self) -> frozenset[str]:
        """Names of the feature groups that differ."""
        return frozenset(test.name for test in self.tests if test.p_value <= test.threshold)

    @functools.cached_property
    def terms(self) -> tuple[ShiftedTerm, ...]:
        """Words of the prompts whose share of rows changed, most surely first."""
        return shifted_terms(*self.texts(lambda record: record.prompt))

    def texts(self, view: Callable[[Record], str | None]) -> tuple[list[str], list[str]]:
        """What `view` gives of the records of each side, without those of which it gives None."""
        before, now = (
            [text for record in side if (text := view(record)) is not None]
            for side in (self.reference, self.current)
        )
        return before, now

    def numbers(self, key: str) -> tuple[list[float], list[float]]:
        """The numbers under a key of `meta`, of each side."""
        before, now = (
            [
                float(value)
                for record in side
                if isinstance(value := record.meta.get(key), int | float)
            ]
            for side in (self.reference, self.current)
        )
        return before, now


class ShiftKind(Protocol):
    """One kind of shift: recognised from the tests that rejected, and named with numbers.

    Attributes:
        name: as results and reports have it.
        remedy: what to do about it, in a sentence or two.
        groups: feature groups; one of them has to have rejected. Empty: none needs to.
        order: kinds are named in this order.
    """

    name: str
    remedy: str
    groups: frozenset[str]
    order: int

    def recognise(self, shift: Shift) -> str | None:
        """A sentence with the numbers that show it; None: it is not of this kind."""
        ...


def moved(before: str, now: str) -> str:
    """From one figure to another."""
    return f"{before} → {now}"


def percent(share: float) -> str:
    """A share in percent, with a digit where it is small."""
    return f"{share:.1%}" if 0 < share < 0.095 else f"{share:.0%}"


def shares(values: Sequence[str]) -> dict[str, float]:
    """The share of each value."""
    return {value: count / len(values) for value, count in Counter(values).items()}


def quote(text: str) -> str:
    """The beginning of a text on one line, in quotation marks."""
    line = " ".join(text.split())
    return f"“{line[: _EXCERPT - 1] + '…' if len(line) > _EXCERPT else line}”"
