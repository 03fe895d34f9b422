"""Tells people and programs what happens on the way to a new champion.

A notifier is a kind of receiver: a file in `tasks/notify/notifiers`, or one of the user's own.
`notify.hooks` in params.yaml says who is told of what. A receiver that fails never stops
what it would be told of: that is logged, and no more.
"""

from typing import TYPE_CHECKING

from tasks.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tasks.notify.delivery import NotDelivered, post
    from tasks.notify.events import EVENTS, Event, EventName
    from tasks.notify.notifiers import NOTIFIERS, Notifier
    from tasks.notify.notifying import notify

__all__ = [
    "EVENTS",
    "NOTIFIERS",
    "Event",
    "EventName",
    "NotDelivered",
    "Notifier",
    "notify",
    "post",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "EVENTS": "events",
        "Event": "events",
        "EventName": "events",
        "NOTIFIERS": "notifiers",
        "NotDelivered": "delivery",
        "Notifier": "notifiers",
        "notify": "notifying",
        "post": "delivery",
    },
)
