"""Tells Prefect and people of drift: the event that starts a round, and a notification.

The event is posted and the server's answer awaited, so that an event that no server took is known:
its alarm stays open in the history of the watch, and the next watch, or `perpetune up`, tells it.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from flows.forms import Request
from flows.server import has_server
from tasks.core.errors import PerpetuneError, first_line
from tasks.core.locks import exclusive
from tasks.notify import Event, notify
from tasks.registry import Registry
from tasks.settings import Settings
from tasks.watch import Alarm, History, Told, replay

log = logging.getLogger(__name__)

DRIFT = "perpetune.drift.detected"
"""Name of the event; the deployment `retrain/on-drift` has the trigger."""
_WINDOWS_NAMED = 100


def resource(settings: Settings) -> dict[str, str]:
    """The resource of a model's events."""
    name = settings.project.name
    return {
        "prefect.resource.id": f"perpetune.model.{name}",
        "prefect.resource.name": name,
        "prefect.resource.role": "model",
    }


def tell_pending(request: Request, champion: int) -> tuple[Alarm | None, str]:
    """Emit the event of the open alarm, if one is due; the caller holds the watch's lock.

    Returns:
        The alarm that was told, and a sentence where one has to wait.
    """
    settings = request.settings
    history = History(settings)
    state = replay(history.entries())
    cooldown = timedelta(hours=settings.watch.cooldown_hours)
    alarm, later = state.to_tell(champion, datetime.now(UTC), cooldown)
    if later is not None:
        return None, (
            f"the alarm waits until {later.isoformat(timespec='minutes')}: one event in "
            f"{settings.watch.cooldown_hours:g} hours (watch.cooldown_hours)"
        )
    if alarm is None:
        return None, ""
    problem = _emit(request, alarm, state.times_told(alarm.id))
    if problem:
        log.warning("the event of alarm %s was not delivered and is kept: %s", alarm.id, problem)
        return None, (
            f"the event was not delivered ({problem}): the next `perpetune watch` or `perpetune "
            "up` delivers it, or run `perpetune run` now"
        )
    history.add(Told(alarm=alarm.id, by="event"))
    log.info("emitted %s: %s", DRIFT, alarm.reason)
    return alarm, ""


def tell_kept(request: Request) -> bool:
    """Emit the event of an alarm that no server has taken so far; returns whether there was one.

    For whoever has just started the platform. A watch that runs at the moment tells it itself.
    """
    champion = Registry(request.settings).versions.champion()
    if champion is None or not History(request.settings).path.is_file():
        return False
    busy = PerpetuneError("a watch is running")
    try:
        with exclusive(History(request.settings).folder / "watch.lock", busy):
            alarm, _ = tell_pending(request, champion.number)
    except PerpetuneError as error:
        log.info("%s", error)
        return False
    return alarm is not None


def tell_people(settings: Settings, alarm: Alarm) -> None:
    """Tell `notify.hooks` of an alarm, and ask for labels where they lack."""
    notify(
        settings,
        Event(
            event="drift",
            model=settings.project.name,
            reason=alarm.reason,
            problems=tuple(filter(None, [labels_wanted(settings, alarm)])),
        ),
    )


def labels_wanted(settings: Settings, alarm: Alarm) -> str:
    """A sentence that asks for labels; empty where there are enough."""
    if alarm.labelled >= settings.watch.min_labelled:
        return ""
    return (
        f"{alarm.labelled} records of the drifted traffic have an answer, "
        f"{settings.watch.min_labelled} are needed to learn from it: `perpetune label --budget "
        "100` writes those that are most worth an answer"
    )


def _emit(request: Request, alarm: Alarm, times: int) -> str:
    """Post the event; returns why no server took it, empty where one did."""
    if not has_server():
        return "no platform runs"
    from prefect import get_client
    from prefect.events import Event as PrefectEvent
    from prefect.runtime import flow_run

    related = []
    if flow_run.id:
        run = f"prefect.flow-run.{flow_run.id}"
        related = [{"prefect.resource.id": run, "prefect.resource.role": "flow-run"}]
    event = PrefectEvent.model_validate(
        {
            # The same for each attempt: a server takes it once.
            "id": uuid5(NAMESPACE_URL, f"{DRIFT}/{alarm.id}/{times}"),
            "occurred": datetime.now(UTC),
            "event": DRIFT,
            "resource": resource(request.settings),
            "related": related,
            "payload": _payload(request, alarm),
        }
    )
    try:
        with get_client(sync_client=True) as client:
            body = [event.model_dump(mode="json")]
            client.request("POST", "/events", json=body).raise_for_status()
    # Whatever keeps the event from the server: it is kept and told later.
    except Exception as error:  # noqa: BLE001
        return f"Prefect does not take it: {first_line(error)}"
    return ""


def _payload(request: Request, alarm: Alarm) -> dict[str, Any]:
    return {
        "alarm": alarm.id,
        "model": request.model or "",
        "params": request.params,
        "overrides": list(request.overrides),
        "reason": alarm.reason,
        "window": alarm.window,
        "windows": list(alarm.windows[-_WINDOWS_NAMED:]),
        "p_value": alarm.p_value,
        "alpha": alarm.alpha,
        "rows": alarm.rows,
        "labelled": alarm.labelled,
        "settings": request.settings.plain()["drift"],
    }
