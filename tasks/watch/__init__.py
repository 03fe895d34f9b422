"""From windows of traffic to an alarm: which windows are due, what was found, what was answered.

    windows    which windows there are, and whether they are whole
    history    what happened, as lines that are only ever added
    answers    what a round asks and tells
    evidence   what an alarm rests on
    state      what these lines say together: what is due, which alarm is open, when it is told

Nothing here decides whether a window drifted (`tasks.drift`) or tells anybody (`flows.watch`).
"""

from typing import TYPE_CHECKING

from tasks.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tasks.watch.answers import WatchState, answer, answered, pending, watch_state
    from tasks.watch.evidence import draw_history, keep_evidence
    from tasks.watch.history import (
        Adopted,
        Alarm,
        Answer,
        Entry,
        History,
        Looked,
        PutOff,
        Read,
        Told,
    )
    from tasks.watch.state import State, make_alarm, paths_of, replay
    from tasks.watch.windows import Cleaned, Window, clean, find_windows, unfinished

__all__ = [
    "Adopted",
    "Alarm",
    "Answer",
    "Cleaned",
    "Entry",
    "History",
    "Looked",
    "PutOff",
    "Read",
    "State",
    "Told",
    "WatchState",
    "Window",
    "answer",
    "answered",
    "clean",
    "draw_history",
    "find_windows",
    "keep_evidence",
    "make_alarm",
    "paths_of",
    "pending",
    "replay",
    "unfinished",
    "watch_state",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "Adopted": "history",
        "Alarm": "history",
        "Answer": "history",
        "Cleaned": "windows",
        "Entry": "history",
        "History": "history",
        "Looked": "history",
        "PutOff": "history",
        "Read": "history",
        "State": "state",
        "Told": "history",
        "WatchState": "answers",
        "Window": "windows",
        "answer": "answers",
        "answered": "answers",
        "clean": "windows",
        "draw_history": "evidence",
        "find_windows": "windows",
        "keep_evidence": "evidence",
        "make_alarm": "state",
        "paths_of": "state",
        "pending": "answers",
        "replay": "state",
        "unfinished": "windows",
        "watch_state": "answers",
    },
)
