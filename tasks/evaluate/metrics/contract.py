"""What every metric is; `tests/contract/test_metrics.py` holds for each member."""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.evaluate import statistics
from tasks.evaluate.items import Item

_DIRECTIONS = {"lower": -1, "higher": 1, "near 1": 0}


class Metric(Protocol):
    """A figure of one system on one benchmark.

    A class with this as its base defines the attributes without a default, `score`, and a docstring
    that says what is measured and where that is from. It computes from items alone: losses and
    answers are cached, and a metric makes no model run again.
    """

    name: str
    """Key in files and settings, in snake_case."""
    label: str
    """Name as people read it."""
    unit: str
    """What the figure counts, such as `nats a token`; empty: a number without unit."""
    better: Literal["lower", "higher", "near 1"]
    needs: Literal["losses", "answers"]
    """`answers`: only answered items have a score."""
    aspect: Literal["likelihood", "content", "form", "speed"] = "content"
    """What of an answer is looked at: how likely the reference is, what is said, how it looks
    (length, syntax), or how fast it comes."""
    derived_from: str | None = None
    """Metric whose figures are transformed; such a metric has no score of single items."""
    bounds: tuple[float, float] | None = None
    """Between these is every score, where that is known; so is then every interval."""
    caveat: str = ""
    """A sentence on what the figure does not show, for the model card."""

    def score(self, item: Item) -> float | None:
        """The figure of one item; None: it has none."""
        ...

    def on(self, items: Sequence[Item]) -> "Metric | None":  # noqa: ARG002
        """The metric for the items of one benchmark; None: it does not apply to them.

        That depends on what is the same for every system: the references.
        """
        return self

    def totals(self, item: Item, score: float) -> tuple[float, ...]:  # noqa: ARG002
        """What the item adds to the sums that the figure is computed from."""
        return score, 1.0

    def figure(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """The figure from sums over items, shape (…, sums) → (…); by default their ratio."""
        return statistics.ratio(totals)

    def cluster(self, item: Item) -> str | None:
        """What the item shares its luck with, for the interval; None: with no other."""
        return item.group

    def transform(self, value: float) -> float | None:
        """A figure of `derived_from` as a figure of this metric, increasing; None: beyond floats.

        Only called where `derived_from` is set.
        """
        return value

    @property
    def about(self) -> str:
        """Unit and direction, such as `nats a token, lower is better`."""
        direction = f"{self.better} is better"
        return f"{self.unit}, {direction}" if self.unit else direction

    @property
    def direction(self) -> int:
        """Sign of an improvement: 1, −1, or 0 where more is not better and less is not either."""
        return _DIRECTIONS[self.better]
