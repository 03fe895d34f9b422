"""What a round asks of the watch, and tells it: which alarms it answers."""

from collections.abc import Iterable

from tasks.settings import Settings
from tasks.watch.history import Alarm, Answer, History
from tasks.watch.state import replay


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
