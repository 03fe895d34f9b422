"""The decision log as an interface: append only, one entry of each number."""

from collections.abc import Sequence
from typing import Protocol

from tasks.core.errors import PerpetuneError
from tasks.core.values import Value
from tasks.decisions.values import Entry


class Conflict(PerpetuneError):
    """Somebody else has written the entry of this number."""


class Stored(Value):
    """What stands in one place of a log, unchecked."""

    text: str
    """JSON of an entry, if nobody has tampered with it."""
    place: str
    """Where it stands, for messages: `line 3 of decisions.jsonl`."""
    finished: bool
    """Whether the aliases are set."""
    lost: bool = False
    """Somebody else's entry of the same number came first: this one never counted."""


class DecisionLog(Protocol):
    """Where the entries of one model are written down; many processes may do so at once.

    An entry is begun before any alias moves and finished after all have. So what a crash leaves is
    a begun entry: it counts, and whoever writes next brings the aliases to what it says.
    """

    @property
    def where(self) -> str:
        """The place, for messages; without a password."""
        ...

    def stored(self) -> Sequence[Stored]:
        """Everything in the log, in its order. Writes nothing and makes nothing."""
        ...

    def begin(self, entry: Entry) -> None:
        """Append an entry, so that it is there whole or not at all, and stays after a crash.

        Raises:
            Conflict: there is an entry of this number already: nothing was written.
            PerpetuneError: the place cannot be written to: nothing was written.
        """
        ...

    def finish(self, entry: Entry) -> None:
        """Note that the aliases are as the entry says."""
        ...

    def restore(self, entry: Entry) -> None:
        """Put back an entry that was changed or taken out; it has the hash that it had."""
        ...
