"""The kinds of receivers: a file for each.

    @NOTIFIERS.register
    class Pager:
        name = "pager"
        meaning = "Calls whoever is on duty."

        def send(self, event, hook, seconds):
            post(hook, {"title": event.sentence}, seconds)

A plugin of yours imports `NOTIFIERS` and `post` from `tasks.notify`.
"""

from typing import TYPE_CHECKING, Protocol

from tasks.core.plugins import PluginRegistry
from tasks.notify.events import Event

if TYPE_CHECKING:
    from tasks.notify.settings import Hook

__all__ = ["NOTIFIERS", "Notifier"]


class Notifier(Protocol):
    """A kind of receiver."""

    name: str
    """`kind` of a hook in params.yaml."""
    meaning: str
    """A sentence for the documentation."""

    def send(self, event: Event, hook: "Hook", seconds: float) -> None:
        """Tell one receiver of one event, within `seconds`.

        It may try again, with the same delivery id, and returns when the receiver has taken it.

        Raises:
            NotDelivered: it has not; the message names no secret.
        """
        ...


NOTIFIERS: PluginRegistry[Notifier] = PluginRegistry("notifier", "tasks.notify.notifiers")
