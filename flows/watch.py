"""New traffic: is it still what the champion was trained on? If not, the next round starts.

    perpetune watch                  # every window that was not looked at yet
    perpetune watch --retrain        # and retrain at once, without a platform

No window stops the watch: one that cannot be decided is recorded with the reason, and the next one
is looked at. Labelled records of drifted windows join the data (a part of them as a benchmark), and
an event starts the deployment `retrain/on-drift`. What was seen and done is written down in a
history (`tasks.watch`) from any beginning of which a watch goes on.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from flows.artifacts import show_traffic
from flows.data import DATA, POINTER
from flows.drift_events import labels_wanted, tell_pending, tell_people
from flows.forms import Request
from flows.recovery import alive
from flows.results import Watched, WindowCheck
from flows.retrain import retrain
from flows.round import no_round
from flows.steps import step
from tasks import records
from tasks.collect import adopt_window, count_labelled, write_pointer
from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError, Refused, first_line
from tasks.core.locks import exclusive
from tasks.drift import HELD_OUT, Look, look
from tasks.evaluate import score_records
from tasks.label import is_labelled
from tasks.registry import Registry, read_traces
from tasks.rendering.markdown import escape
from tasks.settings import Settings, load_settings
from tasks.watch import (
    Adopted,
    Alarm,
    Cleaned,
    History,
    Looked,
    PutOff,
    Read,
    State,
    Told,
    Window,
    answer,
    clean,
    draw_history,
    find_windows,
    make_alarm,
    paths_of,
    replay,
    unfinished,
)

log = logging.getLogger(__name__)

_BUSY_SECONDS = 600


@dataclass(frozen=True)
class _Champion:
    """What windows are compared with.

    Attributes:
        number: its version.
        reference: the traffic that it was trained on.
        adapter: its own; None: its loss is not compared.
    """

    number: int
    reference: Path
    adapter: Path | None


@flow(name="watch")
def watch(
    params: str = "params.yaml",
    overrides: list[str] | None = None,
    model: str | None = None,
    windows: list[str] | None = None,
    retrain_here: bool = False,
    auto_approve: bool = False,
) -> Watched:
    """Look at every window of traffic that was not looked at yet, and raise the alarm on drift.

    Args:
        params: the settings file.
        overrides: `section.key=value` settings that go before the file's.
        model: of `models/MODEL.yaml`; None: the project's default model.
        windows: files to look at instead of those in `watch.traffic`.
        retrain_here: answer drift with a round in this process instead of an event.
        auto_approve: passed on to that round.

    Raises:
        PerpetuneError: the registry cannot be read, the data's version cannot be recorded, or
            another watch has been running for ten minutes.
    """
    settings = load_settings(Path(params), overrides or [], model or None)
    request = Request(settings, params, overrides or [], model or None)
    with alive(settings):
        found = _watch(request, windows, here=retrain_here)
    if retrain_here and found.told and found.alarm:
        outcome = retrain(
            params=params,
            overrides=overrides,
            model=model,
            reason=found.alarm.reason,
            auto_approve=auto_approve,
            alarm=found.alarm.id,
        )
        return found.model_copy(update={"retrain": outcome})
    return found


def _watch(request: Request, windows: list[str] | None, *, here: bool) -> Watched:
    settings = request.settings
    champion = Registry(settings).versions.champion()
    if champion is None:
        note = (
            f"{settings.project.name} has no champion to compare traffic with: "
            "run `perpetune run`, then `perpetune approve VERSION --by NAME`"
        )
        log.info("%s", note)
        return Watched(champion=None, windows=(), notes=(note,))
    busy = PerpetuneError("another watch of this model has been running for ten minutes")
    with exclusive(History(settings).folder / "watch.lock", busy, seconds=_BUSY_SECONDS):
        return _Watch(request, champion.number).run(windows, here=here)


class _Watch:
    """One watch of one model; the caller holds its lock."""

    def __init__(self, request: Request, champion: int) -> None:
        self._request = request
        self._settings = request.settings
        self._champion = champion
        self._history = History(request.settings)

    @property
    def _state(self) -> State:
        return replay(self._history.entries())

    def run(self, windows: Sequence[str] | None, *, here: bool) -> Watched:
        """Look, let labelled records join the data, raise the alarm, and tell it."""
        self._close_alarms_of_others()
        checks, notes = self._look_at_all(windows)
        put_off, problem = self._adopt()
        notes.append(problem)
        self._raise_alarm()
        alarms = self._state.open(self._champion)
        told = None
        if alarms and not put_off:
            told, note = self._take(alarms[-1]) if here else tell_pending(*self._who)
            notes.append(note)
        if alarms:
            notes.append(labels_wanted(self._settings, alarms[-1]))
        result = Watched(
            champion=self._champion,
            windows=tuple(checks),
            alarm=alarms[-1] if alarms else None,
            told=told is not None,
            notes=tuple(filter(None, notes)),
        )
        for note in result.notes:
            log.info("%s", note)
        if checks:
            picture = draw_history(self._settings, self._history.folder / "timeline.png")
            show_traffic(self._settings, _as_markdown(result), picture)
        return result

    @property
    def _who(self) -> tuple[Request, int]:
        return self._request, self._champion

    def _close_alarms_of_others(self) -> None:
        """Alarms beside an earlier champion: their windows are looked at again, beside this one."""
        why = f"version {self._champion} has become champion since"
        others = [alarm for alarm in self._state.open() if alarm.champion != self._champion]
        answer(self._settings, others, None, why)

    def _look_at_all(self, windows: Sequence[str] | None) -> tuple[list[WindowCheck], list[str]]:
        """Every window that is due. Also the problems with finding them."""
        unread = "" if windows else self._read_traces()
        found, problem = find_windows(windows or [self._settings.watch.traffic])
        checks: list[WindowCheck] = []
        champion = None
        for window in found:
            last = self._state.last(window.name)
            digest = window.fingerprint(last.fingerprint if last else None).digest
            if not windows and not self._state.is_due(window.name, digest, self._champion):
                continue
            why = unfinished(window, time.time())
            if why:
                checks.append(self._put_off(window, digest, why))
                continue
            champion = champion or self._load_champion()
            checks.append(look_step(self._settings, champion, window))
        return checks, [unread, problem]

    def _read_traces(self) -> str:
        """Let new traces of MLflow become a window; returns why that is not possible.

        The window is named by the time that it begins with: if a crash comes between the file and
        the history, it is written again.
        """
        options = self._settings.watch.traces
        if options.experiment is None:
            return ""
        since = self._state.read_until or 0
        until = int(1000 * (time.time() - 60 * options.delay_minutes))
        if until <= since:
            return ""
        start = datetime.fromtimestamp(since / 1000, UTC).strftime("%Y-%m-%dT%H-%M-%S")
        path = Path(self._settings.watch.traffic) / f"traces-{start}.jsonl"
        try:
            rows = list(read_traces(self._settings, since, until))
        except BadInput as error:
            return first_line(error)
        if rows:
            files.write_jsonl(path, rows)
        self._history.add(Read(until=until, window=str(path) if rows else None))
        log.info("%d new traces of %s", len(rows), options.experiment)
        return ""

    def _put_off(self, window: Window, digest: str, why: str) -> WindowCheck:
        entry = PutOff(window=window.name, digest=digest, why=why)
        known = self._state.put_off.get(window.name)
        if known is None or (known.digest, known.why) != (digest, why):
            self._history.add(entry)
        return WindowCheck.put_off(window.name, why)

    def _load_champion(self) -> _Champion:
        """The champion's reference and, where its loss is compared, its adapter."""
        settings, number = self._settings, self._champion
        versions = Registry(settings).versions
        reference = versions.artifact(number, "reference.jsonl")
        records.load([reference], labelled=False)  # or every window would be undecidable
        if not settings.watch.champion_rows:
            return _Champion(number, reference, None)
        try:
            adapter = versions.adapter(f"models:/{versions.model}/{number}")
            # By content: a registry that was made anew counts its versions from 1 again.
            key = files.content_key(files.sha256(reference), files.file_hashes(adapter))
            scored = self._history.folder / f"reference-{number}-{key}.jsonl"
            if not scored.is_file():
                most = settings.evaluate.max_examples
                score_records(reference, adapter, scored, settings, most=most, chosen=_is_held_out)
        except PerpetuneError as error:
            log.warning("the champion's loss is not compared: %s", first_line(error))
            return _Champion(number, reference, None)
        return _Champion(number, scored, adapter)

    def _adopt(self) -> tuple[bool, str]:
        """Let the labelled records of drifted windows join the data, once there are enough.

        Returns:
            Whether that waits for a round that runs, and a sentence where it did not happen.
        """
        state = self._state
        labelled = {
            name: count_labelled(Window.named(name).path, self._settings)
            for name in (looked.window for looked in state.drifted(self._champion))
        }
        more = {name: n for name, n in labelled.items() if n > state.learned.get(name, 0)}
        fresh = sum(n - state.learned.get(name, 0) for name, n in more.items())
        if fresh < self._settings.watch.min_labelled:
            return False, ""
        with ExitStack() as stack:
            try:  # data changes between rounds only
                stack.enter_context(no_round(self._settings))
            except PerpetuneError:
                return True, "a round is running: drifted windows join the data after it"
            try:
                adopted = adopt(self._settings, more, state)
            except (Refused, BadInput) as error:
                return False, f"the labelled records do not join the data: {first_line(error)}"
            self._history.add(adopted)
        return False, ""

    def _raise_alarm(self) -> None:
        state = self._state
        pages = {
            looked.look.number: str(Path(looked.folder) / "report.html")
            for looked in state.of(self._champion)
        }
        alarm = make_alarm(state, self._champion, self._settings.project.name, pages)
        if alarm is not None:
            self._history.add(alarm)
            tell_people(self._settings, alarm)

    def _take(self, alarm: Alarm) -> tuple[Alarm, str]:
        """A round in this process answers the alarm: no event may start another one."""
        self._history.add(Told(alarm=alarm.id, by="here"))
        return alarm, ""


def _is_held_out(record: records.Record) -> bool:
    return HELD_OUT in record.meta


@step("look", shown="look at {window.stem}", hours=1)
def look_step(settings: Settings, champion: _Champion, window: Window) -> WindowCheck:
    """One window beside the champion's reference, alone and pooled; remembered in the history."""
    history = History(settings)
    looks = replay(history.entries()).of(champion.number)
    before = window.fingerprint()
    folder = history.result_folder(window.name, before.digest)
    cleaned, found = _compare(settings, champion, window, looks, folder)
    if window.fingerprint().digest != before.digest:
        return WindowCheck.put_off(window.name, "its content changed while it was read")
    files.write_json(folder / "look.json", found.to_json())
    looked = Looked(
        champion=champion.number,
        window=window.name,
        fingerprint=before,
        path=str(cleaned.path),
        labelled=count_labelled(window.path, settings),
        bad=cleaned.bad,
        first_bad=cleaned.first_bad,
        look=found.brief(),
        folder=str(folder),
    )
    history.add(looked)
    log.info("%s: %s: %s", window.stem, found.status, found.why)
    return WindowCheck.of(looked, found)


def _compare(
    settings: Settings, champion: _Champion, window: Window, looks: Sequence[Looked], folder: Path
) -> tuple[Cleaned, Look]:
    """The window's good lines, and the look at them; what fails in it is undecidable."""
    cleaned = Cleaned(path=window.path, rows=0, bad=0)
    earlier = [looked.look for looked in looks]
    try:
        cleaned = clean(window, History(settings).folder / "good")
        if champion.adapter is not None:
            scored = folder / f"scored-{champion.number}.jsonl"
            most = settings.watch.champion_rows
            # Not the champion's own answers, which it finds likely.
            score_records(
                cleaned.path, champion.adapter, scored, settings, most=most, chosen=is_labelled
            )
            cleaned = cleaned.model_copy(update={"path": scored})
        paths = [Path(path) for path in paths_of(looks, window.name)]
        report = folder / "report.html"
        windows = [*paths, cleaned.path]
        return cleaned, look(champion.reference, windows, earlier, settings, report=report)
    except (OSError, MemoryError) as error:
        raise PerpetuneError(f"{window.name}: {error}") from error
    except BadInput as error:
        why = first_line(error)
    except PerpetuneError:
        raise
    # A window of a kind that no code of ours has met must not hide those that come after it.
    except Exception as error:
        log.exception("%s cannot be compared", window.name)
        why = f"{type(error).__name__}: {first_line(error)}"
    return cleaned, Look(
        number=len(looks) + 1,
        window=str(cleaned.path),
        rows=0,
        status="undecidable",
        why=why,
        scales=(),
        alpha_spent=earlier[-1].alpha_spent if earlier else 0.0,
        alpha_released=earlier[-1].alpha_released if earlier else 0.0,
        result=None,
    )


def adopt(settings: Settings, labelled: Mapping[str, int], state: State) -> Adopted:
    """Let the labelled records of windows join the data, and record the data's version.

    Args:
        settings: of the model.
        labelled: how many there are, by window.
        state: what has joined before.

    Raises:
        BadInput: the settings name no folder for them.
        Refused: there are fewer than they were.
        PerpetuneError: DVC cannot record the data.
    """
    windows = [Window.named(name) for name in labelled]
    name = windows[-1].stem
    if len(windows) > 1:
        name = f"{windows[0].stem}-to-{name}"
    # The same windows again, with more labels, take the place of what they were.
    others = [entry for entry in state.adopted if entry.windows.keys() != labelled.keys()]
    if f"{name}.jsonl" in {Path(entry.feedback).name for entry in others}:
        name = f"{name}-{files.content_key(sorted(labelled))}"
    found = adopt_window([window.path for window in windows], settings, name)
    inside = any(
        path.resolve().is_relative_to(DATA.resolve()) for path in (found.feedback, found.benchmark)
    )
    if inside and POINTER.is_file():
        write_pointer(DATA, POINTER)
    return Adopted(
        windows=dict(labelled),
        labelled=found.labelled,
        feedback=str(found.feedback),
        benchmark=str(found.benchmark),
    )


def _as_markdown(watched: Watched) -> str:
    rows = "\n".join(
        f"| {escape(Path(check.window).name)} | {check.status} | "
        f"{'' if check.p_value is None else f'{check.p_value:.3g}'} | "
        f"{'' if check.alpha is None else f'{check.alpha:.3g}'} | {check.labelled} | "
        f"{check.bad_lines} | {escape(check.why)} |"
        for check in watched.windows
    )
    notes = "\n".join(f"- {escape(note)}" for note in watched.notes)
    head = f"## Alarm: {escape(watched.alarm.reason)}\n\n" if watched.alarm else ""
    return (
        f"{head}| Window | Result | p | Threshold | Labelled | Bad lines | Why |\n"
        f"|---|---|---|---|---|---|---|\n{rows}\n\n{notes}\n"
    )
