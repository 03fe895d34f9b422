"""What a round asks of the watch, and tells it: which alarms it answers."""

from collections.abc import Iterable

from tasks.core.values import Value
from tasks.settings import Settings
from tasks.watch.history import Alarm, Answer, History
from tasks.watch.state import replay


class WatchState(Value):
    """How far the watch of a model is."""

    windows: int
    """Looks at windows so far."""
    window: str | None
    """The newest that was looked at, and what came of it."""
    status: str | None
    at: str | None
    alarm: str | None
    """Why the newest alarm was raised that no round has answered; None: there is none."""
    alarm_at: str | None


def watch_state(settings: Settings) -> WatchState | None:
    """The state of a model's watch; None: there was no watch yet."""
    history = History(settings)
    if not history.path.is_file():
        return None
    state = replay(history.entries())
    last = state.looks[-1] if state.looks else None
    alarm = next(reversed(state.open()), None)
    return WatchState(
        windows=len(state.looks),
        window=last.window if last else None,
        status=last.look.status if last else None,
        at=last.at if last else None,
        alarm=alarm.reason if alarm else None,
        alarm_at=alarm.at if alarm else None,
    )


def answered(settings: Settings, alarm: str) -> Answer | None:
    """The answer to an alarm, by which a round that it would start ends at once; None: none yet.

    An alarm that this machine's history does not know is not answered.
    """
    return replay(History(settings).entries()).answers.get(alarm)


def pending(settings: Settings) -> tuple[Alarm, ...]:
    """The alarms that a round answers which takes its data from now on.

    To be asked before the data is read: windows that drift later are no part of it.
    """
    return tuple(replay(History(settings).entries()).open())


def answer(settings: Settings, alarms: Iterable[Alarm], version: int | None, why: str) -> None:
    """Record that a round has answered these alarms; those that have an answer keep it.

    Args:
        settings: of the model.
        alarms: from `pending`.
        version: what the round brought, also where nothing had changed.
        why: a sentence.
    """
    history = History(settings)
    known = replay(history.entries()).answers
    entries = [
        Answer(alarm=alarm.id, version=version, why=why)
        for alarm in alarms
        if alarm.id not in known
    ]
    if entries:
        history.add(*entries)
