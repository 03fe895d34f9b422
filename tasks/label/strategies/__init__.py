"""How rows are chosen: a file for each strategy.

    @STRATEGIES.register
    class Longest:
        name = "longest"
        meaning = "Rows whose answer is the longest."

        def choose(self, pool, count, seed): ...
        def reason(self, pool, row): ...

A plugin of yours imports `STRATEGIES` and `Pool` from `tasks.label`.
"""

from typing import Protocol

from tasks.core.plugins import PluginRegistry
from tasks.label.pool import Pool

__all__ = ["STRATEGIES", "Strategy"]


class Strategy(Protocol):
    """A way to choose rows; `tests/contract/test_label_strategies.py` holds for each."""

    name: str
    """`label.strategy` in params.yaml."""
    meaning: str
    """A sentence for the documentation: what it prefers, and after whom."""

    def choose(self, pool: Pool, count: int, seed: int) -> list[int]:
        """Rows of the pool, the most useful first, no row twice, `count` of them if there are.

        Equal arguments give equal rows.

        Raises:
            BadInput: the pool lacks what the strategy looks at; the message says what to do.
        """
        ...

    def reason(self, pool: Pool, row: int) -> str:
        """Why this row was chosen, for the person who answers it."""
        ...


STRATEGIES: PluginRegistry[Strategy] = PluginRegistry("label strategy", "tasks.label.strategies")
