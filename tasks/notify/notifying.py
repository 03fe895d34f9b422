"""Tells every receiver that asked for an event."""

import logging

from tasks.core.errors import first_line
from tasks.notify.events import Event
from tasks.notify.notifiers import NOTIFIERS
from tasks.settings import Settings

log = logging.getLogger(__name__)


def notify(settings: Settings, event: Event) -> None:
    """Tell the hooks of `notify.hooks` of an event; one that cannot be told is logged, no more."""
    for number, hook in enumerate(settings.notify.hooks):
        if event.event not in hook.events:
            continue
        try:
            NOTIFIERS.get(hook.kind).send(event, hook, settings.notify.timeout_seconds)
        except Exception as error:  # noqa: BLE001 (a notifier of the user's may raise anything)
            log.warning(
                "notify.hooks[%d] (%s) was not told of %s: %s",
                number,
                hook.kind,
                event.event,
                first_line(error),
            )
