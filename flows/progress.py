"""How a command follows the trials of a round that runs in its process: with a live table."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from tasks.tune.sweep import Trial

ShowTrials = Callable[[list[Trial]], None]
"""Takes all trials of a sweep, again after each change."""
TrialTable = Callable[[], AbstractContextManager[ShowTrials]]
"""Shows trials as long as its context is open."""

_table: ContextVar[TrialTable | None] = ContextVar("trial_table", default=None)


@contextmanager
def followed_by(table: TrialTable) -> Iterator[None]:
    """Show the trials of flows that are called here with `table`."""
    token = _table.set(table)
    try:
        yield
    finally:
        _table.reset(token)


def trial_table() -> AbstractContextManager[ShowTrials]:
    """The caller's table; without one, trials are not shown."""
    table = _table.get()
    return table() if table else nullcontext(lambda _: None)
