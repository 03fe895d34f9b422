"""JSON for a program of yours."""

from tasks.notify.delivery import post
from tasks.notify.events import Event
from tasks.notify.notifiers import NOTIFIERS
from tasks.notify.settings import Hook


@NOTIFIERS.register
class Http:
    """The event as JSON, signed as Standard Webhooks does."""

    name = "http"
    meaning = "The event as JSON, for a program; signed where `secret` is set."

    def send(self, event: Event, hook: Hook, seconds: float) -> None:
        """Post the event."""
        post(hook, event.to_json() | {"text": event.sentence}, seconds)
