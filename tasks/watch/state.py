"""What the lines of a history say together. Pure: entries in, what is to be done out.

A window of the same content is looked at once for a champion. Windows that drifted are one alarm
until it is told; those that drift while it waits for its answer are the next one. No more than one
event is told in `watch.cooldown_hours`, so that fifty drifted windows start one round; an alarm
that no round has answered by then is told again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tasks.core.files import content_key
from tasks.rendering.markdown import clip, one_line
from tasks.watch.history import Adopted, Alarm, Answer, Entry, Looked, PutOff, Read, Told
from tasks.watch.windows import Window


@dataclass
class State:
    """A history, read."""

    looks: list[Looked] = field(default_factory=list)
    alarms: dict[str, Alarm] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    adopted: list[Adopted] = field(default_factory=list)
    learned: dict[str, int] = field(default_factory=dict)
    """By window, how many of its labelled records have joined the data."""
    learned_at: dict[str, int] = field(default_factory=dict)
    """By window, the place in the history where they did last."""
    told_at: dict[str, int] = field(default_factory=dict)
    """By alarm, the place where it was first told or answered."""
    put_off: dict[str, PutOff] = field(default_factory=dict)
    """By window, that it was not whole when it was last met."""
    read_until: int | None = None
    """Up to when traces have been read, in milliseconds since 1970."""

    def of(self, champion: int) -> list[Looked]:
        """The looks at windows beside this champion's reference, in order."""
        return [looked for looked in self.looks if looked.champion == champion]

    def last(self, window: str) -> Looked | None:
        """The newest look at a window."""
        return next((looked for looked in reversed(self.looks) if looked.window == window), None)

    def is_due(self, window: str, digest: str, champion: int) -> bool:
        """Whether a window of this content is to be looked at.

        What another champion's watch has decided stays decided; what was left open there is not.
        """
        seen = [
            looked
            for looked in self.looks
            if (looked.window, looked.fingerprint.digest) == (window, digest)
        ]
        if not seen:
            return True
        if any(looked.champion == champion for looked in seen):
            return False
        last = seen[-1]
        if last.look.status == "drift":
            return not self._is_answered(last)
        return last.look.status == "undecidable"

    def drifted(self, champion: int) -> list[Looked]:
        """The windows that stand behind the alarms of this champion, each once, as last seen.

        A pool of windows that drifted together names all of them.
        """
        looks = self.of(champion)
        newest = {looked.window: looked for looked in looks}
        inside: dict[str, Looked] = {}
        for position, looked in enumerate(looks):
            for pooled in _pool(looks, position) if looked.look.status == "drift" else ():
                inside[pooled.window] = newest[pooled.window]
        return list(inside.values())

    def uncovered(self, champion: int) -> list[Looked]:
        """Looks that found drift and belong to no alarm that is still to be told, or was told when
        there was as much to learn from as now: a round that began before the labels came has not
        seen them."""
        looks = self.of(champion)
        fresh = []
        for position, looked in enumerate(looks):
            if looked.look.status != "drift":
                continue
            alarms = [
                alarm.id
                for alarm in self.alarms.values()
                if alarm.champion == champion and looked.look.number in alarm.looks
            ]
            labels = max(
                self.learned_at.get(pooled.window, -1) for pooled in _pool(looks, position)
            )
            if all(self.told_at.get(alarm, labels) < labels for alarm in alarms):
                fresh.append(looked)
        return fresh

    def open(self, champion: int | None = None) -> list[Alarm]:
        """Alarms without an answer, oldest first; of one champion, or of all."""
        return [
            alarm
            for alarm in self.alarms.values()
            if alarm.id not in self.answers and champion in (None, alarm.champion)
        ]

    def growing(self, champion: int) -> Alarm | None:
        """The alarm that further windows join: open, and not told yet."""
        told = {entry.alarm for entry in self.told}
        return next((alarm for alarm in self.open(champion) if alarm.id not in told), None)

    def to_tell(
        self, champion: int, now: datetime, cooldown: timedelta
    ) -> tuple[Alarm | None, datetime | None]:
        """The alarm whose event is due, and else the time when the next will be.

        The newest open alarm stands for all: the round that follows answers all of them.
        """
        alarms = self.open(champion)
        if not alarms:
            return None, None
        last = max((_time(entry.at) for entry in self.told), default=None)
        # A clock that was set back does not hold an alarm back for longer than the cool-down.
        if last is None or not timedelta(0) <= now - last < cooldown:
            return alarms[-1], None
        return None, last + cooldown

    def times_told(self, alarm: str) -> int:
        """How often an alarm has been told."""
        return sum(entry.alarm == alarm for entry in self.told)

    def _is_answered(self, looked: Looked) -> bool:
        return any(
            alarm.champion == looked.champion and looked.look.number in alarm.looks
            for alarm in self.alarms.values()
            if alarm.id in self.answers and self.answers[alarm.id].version is not None
        )


def replay(entries: Iterable[Entry]) -> State:
    """The state after these entries."""
    state = State()
    for place, entry in enumerate(entries):
        match entry:
            case Looked():
                state.looks.append(entry)
                state.put_off.pop(entry.window, None)
            case PutOff():
                state.put_off[entry.window] = entry
            case Adopted():
                state.adopted.append(entry)
                state.learned |= entry.windows
                state.learned_at |= dict.fromkeys(entry.windows, place)
            case Alarm():
                state.alarms[entry.id] = entry
            case Told():
                state.told.append(entry)
                state.told_at.setdefault(entry.alarm, place)
            case Answer():
                state.told_at.setdefault(entry.alarm, place)
                state.answers.setdefault(entry.alarm, entry)
            case Read():
                state.read_until = max(entry.until, state.read_until or 0)
    return state


def paths_of(looks: Sequence[Looked], window: str) -> list[str]:
    """The path of each look's window, oldest first, as they are before a look at `window`.

    Of a window that was looked at again since, or is now, it is a path that leads nowhere: its rows
    count once.
    """
    newest = {looked.window: position for position, looked in enumerate(looks)}
    newest.pop(window, None)
    return [
        looked.path if newest.get(looked.window) == position else f"{looked.path}.replaced"
        for position, looked in enumerate(looks)
    ]


def make_alarm(state: State, champion: int, model: str, reports: Mapping[int, str]) -> Alarm | None:
    """The alarm that looks belong to which found drift and are in none; None: there are none.

    It takes the place of one that was not told yet, and keeps its id.

    Args:
        state: of the history.
        champion: beside whose reference they drifted.
        model: name of the model.
        reports: the page of each look, by its number.
    """
    fresh = state.uncovered(champion)
    if not fresh:
        return None
    growing = state.growing(champion)
    numbers = {*(growing.looks if growing else ()), *(looked.look.number for looked in fresh)}
    looks = state.of(champion)
    raised = [looked for looked in looks if looked.look.number in numbers]
    windows = {
        pooled.window: pooled
        for looked in raised
        for pooled in _pool(looks, looked.look.number - 1)
    }
    strongest = min(raised, key=lambda looked: _evidence(looked)[0] / _evidence(looked)[1])
    p_value, alpha = _evidence(strongest)
    others = len(windows) - 1
    name = one_line(clip(Window.named(strongest.window).stem, 80))
    more = f" and {others} more" if others else ""
    return Alarm(
        id=growing.id if growing else content_key(model, champion, len(state.alarms), min(numbers)),
        champion=champion,
        reason=f"drift in {name}{more} (p = {p_value:.3g})",
        window=strongest.window,
        windows=tuple(windows),
        looks=tuple(sorted(numbers)),
        p_value=p_value,
        alpha=alpha,
        rows=sum(pooled.look.rows for pooled in windows.values()),
        labelled=sum(pooled.labelled for pooled in windows.values()),
        reports=tuple(reports[number] for number in sorted(numbers) if number in reports),
    )


def _pool(looks: Sequence[Looked], position: int) -> Sequence[Looked]:
    """The looks at the windows that the one at `position` compared together."""
    scales = looks[position].look.scales
    first = scales[-1].first - 1 if scales else position
    return looks[first : position + 1]


def _evidence(looked: Looked) -> tuple[float, float]:
    """The p-value and the threshold that raised the alarm."""
    last = looked.look.scales[-1]
    return last.p_value, last.alpha


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
