"""Traffic that changes, without a platform: nothing stops the watch, and one round answers it."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.project import DISHES, STEPS, SUBJECTS, VERBS, ProjectFolder, example, write


def test_without_a_champion_there_is_nothing_to_compare_with(project: ProjectFolder) -> None:
    watched = project.perpetune("watch", "--once")
    assert (watched["champion"], watched["windows"]) == (None, [])
    assert "no champion" in watched["notes"][0]


def make_traffic(folder: Path) -> None:
    """What a folder of traffic may hold; `window-1` is quiet, `window-2` has drifted."""
    write(folder / "window-0.jsonl", [example("w0", i, VERBS, SUBJECTS) for i in range(6)])
    with (folder / "window-1.jsonl").open("a") as file:
        file.write('{"prompt": "cut in the middle of a li\n')
    # Damaged, empty, without a record, and still being written; all of them before the drift.
    for name, text in (("a.parquet", "PAR1"), ("b.jsonl", ""), ("c.csv", "x,y\n1,2\n")):
        (folder / f"window-1{name}").write_text(text)
    (folder / "window-1d.jsonl").write_text('{"prompt": "being wri')
    unlabelled = [example("w3", i, STEPS, DISHES) for i in range(60)]
    for row in unlabelled:
        del row["completion"]
    write(folder / "window-3/part-0.jsonl", unlabelled)


@pytest.fixture(scope="module")
def watched(project: ProjectFolder) -> dict:
    """What `watch` printed, without a platform, after a first champion was approved."""
    project.perpetune("run", "--auto-approve")
    assert project.perpetune("status")["champion"] == 1
    make_traffic(project.path / "data/traffic")
    return project.perpetune("watch")


def test_no_window_stops_the_watch(project: ProjectFolder, watched: dict) -> None:
    status = {Path(check["window"]).name: check["status"] for check in watched["windows"]}
    assert status == {
        "window-0.jsonl": "undecidable",
        "window-1.jsonl": "quiet",
        "window-1a.parquet": "undecidable",
        "window-1b.jsonl": "undecidable",
        "window-1c.csv": "undecidable",
        "window-1d.jsonl": "undecidable",
        "window-2.jsonl": "drift",
        "window-3": "drift",
    }
    checks = {Path(check["window"]).name: check for check in watched["windows"]}
    for check in watched["windows"]:
        assert check["why"]
        if check["p_value"] is not None:
            assert (check["p_value"] <= check["alpha"]) == check["drift"]
            assert (project.path / check["report"]).stat().st_size > 10_000
    # The small window was taken together with the next, whose broken line was left out.
    assert checks["window-1.jsonl"]["pooled"] == 2
    assert checks["window-1.jsonl"]["bad_lines"] == 1
    assert "window-1.jsonl:81: invalid_json" in checks["window-1.jsonl"]["first_bad"]
    assert "still being written" in checks["window-1d.jsonl"]["why"]


def test_an_event_without_a_platform_is_kept(watched: dict) -> None:
    assert watched["alarm"]["windows"] == ["data/traffic/window-2.jsonl", "data/traffic/window-3"]
    assert not watched["told"]
    assert any("the event was not delivered" in note for note in watched["notes"])


def test_the_window_joins_the_versioned_data(project: ProjectFolder, watched: dict) -> None:
    del watched
    feedback = project.path / "data/feedback/window-2.jsonl"
    benchmark = project.path / "data/benchmarks/window-2.jsonl"
    count = sum(len(path.read_text().splitlines()) for path in (feedback, benchmark))
    assert count == 80
    assert "window-2" in (project.path / "data.dvc").read_text()
    project.perpetune("collect")


@pytest.fixture(scope="module")
def answered(project: ProjectFolder, watched: dict) -> dict:
    """What the next watch printed, with `--retrain`."""
    del watched
    written = project.path / "data/traffic/window-1d.jsonl"
    written.write_text('{"prompt": "being written by hand, and cut"')
    os.utime(written, (time.time() - 3600,) * 2)
    return project.perpetune("watch", "--retrain")


def test_the_alarm_is_answered_by_one_round(answered: dict) -> None:
    windows = [(Path(check["window"]).name, check["status"]) for check in answered["windows"]]
    assert windows == [("window-1d.jsonl", "undecidable")]
    assert answered["told"]
    outcome = answered["retrain"]
    assert outcome["version"] == 2
    assert "drift in window-2 and 1 more" in outcome["reason"]


def test_the_candidate_beats_the_champion_on_the_window(answered: dict) -> None:
    verdict = answered["retrain"]["verdict"]
    models = verdict["models"]
    champion = models["champion"]["benchmarks"]["window-2"]["loss"]["value"]
    candidate = models["candidate"]["benchmarks"]["window-2"]["loss"]["value"]
    assert candidate < champion
    assert verdict["reference"] == "champion"
    # The window is new, but held.jsonl is not.
    assert any("round 2 on these benchmarks" in note for note in verdict["notes"])


def test_windows_are_looked_at_once_and_an_alarm_is_answered_once(
    project: ProjectFolder, answered: dict
) -> None:
    del answered
    again = project.perpetune("watch", "--retrain")
    assert (again["windows"], again["alarm"], again["retrain"]) == ([], None, None)
    history = project.path / ".perpetune/watch/tiny/history.jsonl"
    kinds = [json.loads(line)["kind"] for line in history.read_text().splitlines()]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    assert counts == {
        "looked": 8,
        "put_off": 1,
        "adopted": 1,
        "alarm": 1,
        "told": 1,
        "answer": 1,
    }


def test_the_window_is_normal_for_the_model_that_learned_it(project: ProjectFolder) -> None:
    pending = project.perpetune("status")["pending"]
    assert pending, "the drift round's candidate waits"
    project.perpetune("approve", str(pending[0]["version"]), "--by", "Ada")
    status = project.perpetune("status")
    assert (status["champion"], status["previous"]) == (2, 1)
    rolled = project.perpetune("rollback", "--by", "Ada", "--comment", "trying it")
    assert rolled["after"]["champion"] == 1


def test_the_champions_loss_is_compared_where_it_is_asked_for(project: ProjectFolder) -> None:
    window = "data/traffic/window-2.jsonl"
    options = ["--set", "watch.champion_rows=40", "--set", "drift.min_rows=10"]
    (check,) = project.perpetune("watch", window, *options)["windows"]
    page = project.path / check["report"]
    result = json.loads((page.parent / "look.json").read_text())["result"]
    compared = {test["name"] for test in result["tests"]}
    assert {"loss", "confidence"} <= compared, result["not_compared"]
