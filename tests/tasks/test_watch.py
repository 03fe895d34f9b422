"""The watch without Prefect: its windows, what a history says, when an alarm is told."""

import itertools
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from tasks.drift import Look, ScaleLook
from tasks.settings import Settings
from tasks.watch import (
    Adopted,
    Alarm,
    Entry,
    History,
    Looked,
    Told,
    Window,
    answer,
    answered,
    clean,
    find_windows,
    make_alarm,
    paths_of,
    pending,
    replay,
    unfinished,
)
from tasks.watch.windows import Fingerprint

START = datetime(2026, 11, 26, tzinfo=UTC)
ROW = json.dumps({"prompt": "A question?", "completion": "An answer."}) + "\n"


def put(path: Path, text: str, age: float = 3600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - age,) * 2)
    return path


def names(found: tuple[Window, ...]) -> list[str]:
    return [Path(window.name).name for window in found]


def look(number: int, status: str, *, pool: int = 1, p: float = 0.001) -> Look:
    scales = ()
    if status != "undecidable":
        first = number - pool + 1
        scale = ScaleLook(
            scale=0, windows=pool, first=first, p_value=p, alpha=0.01, drift=status == "drift"
        )
        scales = (scale,)
    return Look(
        number=number,
        window="-",
        rows=50,
        status=status,
        why="-",
        scales=scales,
        alpha_spent=0.0,
        alpha_released=0.0,
        result=None,
    )


def looked(window: str, found: Look, *, champion: int = 1, digest: str = "d") -> Looked:
    return Looked(
        champion=champion,
        window=window,
        fingerprint=Fingerprint(digest=digest, size=1, modified=1),
        path=window,
        labelled=30,
        bad=0,
        first_bad=None,
        look=found,
        folder="-",
    )


# Windows


def test_files_and_folders_are_windows_in_the_order_of_their_names(tmp_path: Path) -> None:
    put(tmp_path / "2026-11-26T11/part-0.jsonl", ROW)
    put(tmp_path / "2026-11-26T11/part-1.jsonl", ROW)
    put(tmp_path / "2026-11-26T10.jsonl", ROW)
    put(tmp_path / "day=27/hour=1/a.csv", "prompt,completion\nq,a\n")
    for name in ("c.jsonl.partial", ".hidden.jsonl", "notes.md", "d.tmp", "empty/.keep"):
        put(tmp_path / name, ROW)
    found, problem = find_windows([str(tmp_path)])
    assert names(found) == ["2026-11-26T10.jsonl", "2026-11-26T11", "hour=1", "empty"]
    assert problem == ""
    assert clean(found[1], tmp_path / "good").rows == 2


def test_no_folder_and_an_empty_one_are_a_sentence(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        found, problem = find_windows([str(place)])
        assert found == () and str(place) in problem


def test_a_file_that_is_being_written_is_told_from_one_that_was_cut(tmp_path: Path) -> None:
    now = time.time()
    cut = ROW * 3 + ROW[:20]
    assert unfinished(Window(put(tmp_path / "w.jsonl", cut, age=1)), now)
    assert unfinished(Window(put(tmp_path / "old.jsonl", cut, age=3600)), now) is None
    assert unfinished(Window(put(tmp_path / "whole.jsonl", ROW * 2, age=0)), now) is None
    # Some editors and programs end a file without a line break.
    assert unfinished(Window(put(tmp_path / "end.jsonl", ROW.rstrip(), age=0)), now) is None
    put(tmp_path / "folder/a.parquet", "")
    put(tmp_path / "folder/b.parquet.partial", "")
    assert "b.parquet.partial" in (unfinished(Window(tmp_path / "folder"), now) or "")


def test_good_lines_are_used_and_bad_ones_named(tmp_path: Path) -> None:
    text = ROW + "{broken\n" + '{"prompt": "No answer yet"}\n' + '{"nothing": 1}\n'
    cleaned = clean(Window(put(tmp_path / "w.jsonl", text)), tmp_path / "good")
    assert (cleaned.rows, cleaned.bad) == (2, 2)
    assert cleaned.first_bad is not None and "w.jsonl:2: invalid_json" in cleaned.first_bad
    assert clean(Window(cleaned.path), tmp_path / "again").bad == 0
    whole = Window(put(tmp_path / "x.jsonl", ROW))
    assert clean(whole, tmp_path / "good").path == whole.path


def test_a_window_is_known_by_its_content(tmp_path: Path) -> None:
    path = put(tmp_path / "w.jsonl", ROW)
    first = Window(path).fingerprint()
    os.utime(path, (1, 1))
    assert Window(path).fingerprint(first).digest == first.digest
    put(path, ROW * 2)
    assert Window(path).fingerprint(first).digest != first.digest
    unreadable = Window(tmp_path / "gone.jsonl").fingerprint()
    assert unreadable.digest.startswith("unreadable")


# History


def entries_of(folder: str) -> tuple[Settings, History]:
    settings = Settings.model_validate({"project": {"name": "tiny", "state_dir": folder}})
    return settings, History(settings)


@property_settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_beginning_of_a_history_can_be_gone_on_from(data: st.DataObject) -> None:
    written: list[Entry] = [
        looked("a", look(1, "quiet")),
        looked("b", look(2, "drift")),
        Adopted(windows={"b": 30}, labelled=30, feedback="f", benchmark="g"),
        Told(alarm="x", by="event"),
    ]
    with TemporaryDirectory() as folder:
        _, history = entries_of(folder)
        for entry in written:
            history.add(entry)
        assert history.entries() == written
        whole = history.path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        history.path.write_bytes(whole[:cut])
        kept = history.entries()
        assert kept == written[: whole[:cut].count(b"\n")]
        history.add(Told(alarm="y", by="here"))
        assert [*kept, *history.entries()[-1:]] == history.entries()
        assert history.entries()[-1].alarm == "y"


def test_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    _, history = entries_of(str(tmp_path))
    history.add(Told(alarm="x", by="event"))
    with history.path.open("ab") as file:
        file.write(b'{"kind": "of a later version"}\nno json\n')
    history.add(Told(alarm="y", by="event"))
    assert [entry.alarm for entry in history.entries()] == ["x", "y"]


# State


@property_settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdef"),  # the window that came
            st.sampled_from(["1", "2"]),  # its content
            st.sampled_from(["quiet", "drift", "undecidable"]),
            st.integers(1, 3),  # windows pooled
            st.sampled_from(["nothing", "answer", "promote"]),
            st.integers(0, 4),  # hours that pass
        ),
        max_size=25,
    )
)
def test_whatever_comes_every_window_is_looked_at_once_and_no_alarm_is_lost(steps: list) -> None:
    champion, now, cooldown = 1, START, timedelta(hours=3)
    entries: list[Entry] = []
    seen: set[tuple[int, str, str]] = set()
    tellings: list[datetime] = []
    for window, digest, status, pool, event, hours in steps:
        now += timedelta(hours=hours)
        state = replay(entries)
        number = len(state.of(champion)) + 1
        if state.is_due(window, digest, champion):
            assert (champion, window, digest) not in seen
            seen.add((champion, window, digest))
            found = look(number, status, pool=min(pool, number))
            assert len(paths_of(state.of(champion), window)) == number - 1
            entries.append(looked(window, found, champion=champion, digest=digest))
        else:
            assert any(one[1:] == (window, digest) for one in seen)
        state = replay(entries)
        alarm = make_alarm(state, champion, "tiny", {})
        if alarm is not None:
            entries.append(alarm)
        state = replay(entries)
        assert state.uncovered(champion) == []
        assert make_alarm(state, champion, "tiny", {}) is None
        due, later = state.to_tell(champion, now, cooldown)
        assert not (due and later)
        assert bool(due or later) == bool(state.open(champion))
        if due:
            entries.append(Told(at=now.isoformat(), alarm=due.id, by="event"))
            tellings.append(now)
            assert replay(entries).to_tell(champion, now, cooldown)[0] is None
        if event == "answer":
            entries += [_answer(alarm) for alarm in replay(entries).open(champion)]
            assert replay(entries).to_tell(champion, now, cooldown) == (None, None)
        if event == "promote":
            champion += 1
    gaps = [later - earlier for earlier, later in itertools.pairwise(tellings)]
    assert all(gap >= cooldown for gap in gaps)
    ids = [entry.id for entry in entries if isinstance(entry, Alarm)]
    state = replay(entries)
    assert set(ids) == set(state.alarms)
    drifted = {(one.champion, one.look.number) for one in state.looks if one.look.status == "drift"}
    in_alarms = {(one.champion, n) for one in state.alarms.values() for n in one.looks}
    assert in_alarms == drifted


def _answer(alarm: Alarm) -> Entry:
    from tasks.watch import Answer

    return Answer(alarm=alarm.id, version=alarm.champion, why="-")


def raised(entries: list[Entry]) -> Alarm:
    alarm = make_alarm(replay(entries), 1, "tiny", {})
    assert alarm is not None
    entries.append(alarm)
    return alarm


def test_fifty_drifted_windows_are_one_alarm() -> None:
    entries: list[Entry] = [looked(f"w{n}.jsonl", look(n, "drift", p=1 / n)) for n in range(1, 51)]
    alarm = raised(entries)
    assert len(alarm.windows) == 50
    assert alarm.reason == "drift in w50 and 49 more (p = 0.02)"
    assert alarm.labelled == 50 * 30


def test_windows_join_an_alarm_until_it_is_told() -> None:
    entries: list[Entry] = [looked("a", look(1, "drift"))]
    first = raised(entries)
    entries.append(looked("b", look(2, "drift")))
    assert raised(entries).id == first.id
    assert replay(entries).open()[0].windows == ("a", "b")
    entries += [Told(alarm=first.id, by="event"), looked("c", look(3, "drift"))]
    second = raised(entries)
    assert (second.id != first.id) and second.windows == ("c",)


def test_a_pool_of_windows_stands_for_all_its_windows_as_last_seen() -> None:
    entries: list[Entry] = [
        looked("a", look(1, "quiet")),
        looked("b", look(2, "quiet")),
        looked("c", look(3, "quiet")),
        looked("d", look(4, "drift", pool=2)),
        looked("c", look(5, "quiet"), digest="with labels"),
    ]
    found = replay(entries).drifted(1)
    assert [(one.window, one.fingerprint.digest) for one in found] == [
        ("c", "with labels"),
        ("d", "d"),
    ]


def test_labels_that_come_after_the_alarm_was_told_are_an_alarm_again() -> None:
    entries: list[Entry] = [looked("a", look(1, "drift"))]
    alarm = raised(entries)
    labels = Adopted(windows={"a": 30}, labelled=30, feedback="f", benchmark="g")
    # Labels that join before it is told are its own.
    assert make_alarm(replay([*entries, labels]), 1, "tiny", {}) is None
    entries += [Told(alarm=alarm.id, by="event"), _answer(alarm)]
    assert make_alarm(replay(entries), 1, "tiny", {}) is None
    entries.append(labels)
    again = raised(entries)
    assert again.id != alarm.id and again.windows == ("a",)
    assert make_alarm(replay(entries), 1, "tiny", {}) is None
    assert replay(entries).open() == [again]


def test_a_window_that_was_replaced_counts_once_in_later_pools() -> None:
    looks = [looked("a", look(1, "quiet")), looked("b", look(2, "quiet"))]
    assert paths_of(looks, "c") == ["a", "b"]
    assert paths_of(looks, "a") == ["a.replaced", "b"]
    looks.append(looked("a", look(3, "quiet"), digest="e"))
    assert paths_of(looks, "d") == ["a.replaced", "b", "a"]


def test_an_alarm_without_an_answer_is_told_again() -> None:
    entries: list[Entry] = [looked("a", look(1, "drift"))]
    alarm = raised(entries)
    cooldown = timedelta(hours=6)

    def told_at(hours: float) -> Alarm | None:
        return replay(entries).to_tell(1, START + timedelta(hours=hours), cooldown)[0]

    assert told_at(0) == alarm
    entries.append(Told(at=START.isoformat(), alarm=alarm.id, by="event"))
    assert [told_at(hours) for hours in (0, 5.9)] == [None, None]
    assert told_at(6) == alarm
    # A clock that was set back by a day.
    assert told_at(-24) == alarm


def test_what_an_earlier_champion_left_open_is_looked_at_again() -> None:
    entries: list[Entry] = [
        looked("quiet", look(1, "quiet")),
        looked("small", look(2, "undecidable")),
        looked("drifted", look(3, "drift")),
    ]
    alarm = raised(entries)
    state = replay(entries)
    assert not any(state.is_due(name, "d", 1) for name in ("quiet", "small", "drifted"))
    due = [name for name in ("quiet", "small", "drifted") if state.is_due(name, "d", 2)]
    assert due == ["small", "drifted"]
    entries.append(_answer(alarm))
    assert not replay(entries).is_due("drifted", "d", 2)


def test_a_round_answers_what_was_open_when_it_took_its_data(tmp_path: Path) -> None:
    settings, history = entries_of(str(tmp_path))
    entries: list[Entry] = [looked("a", look(1, "drift"))]
    first = raised(entries)
    history.add(*entries, Told(alarm=first.id, by="event"))
    taken = pending(settings)
    later: list[Entry] = [*history.entries(), looked("b", look(2, "drift"))]
    second = raised(later)
    history.add(*later[-2:])
    assert answered(settings, first.id) is None
    answer(settings, taken, 7, "a round brought version 7")
    answer(settings, taken, 8, "another one says so, too")
    found = answered(settings, first.id)
    assert found is not None and found.version == 7
    assert [alarm.id for alarm in pending(settings)] == [second.id]
    assert answered(settings, "of another machine") is None
