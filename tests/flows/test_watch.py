"""Traffic that changes, without a platform: the window is adopted and a round runs at once."""

import pytest

from tests.project import ProjectFolder


def test_without_a_champion_there_is_nothing_to_compare_with(project: ProjectFolder) -> None:
    refused = project.perpetune("watch", exit_code=3)
    assert "no champion" in refused["error"]


@pytest.fixture(scope="module")
def watched(project: ProjectFolder) -> dict:
    """What `watch --retrain` printed, after a first champion was approved."""
    project.perpetune("run", "--auto-approve")
    assert project.perpetune("status")["champion"] == 1
    return project.perpetune("watch", "--retrain")


def test_only_the_drifted_window_raises_the_alarm(project: ProjectFolder, watched: dict) -> None:
    assert [window["drift"] for window in watched["windows"]] == [False, True]
    calm, drifted = watched["windows"]
    assert drifted["p_value"] <= drifted["alpha"] < calm["p_value"]
    for window in watched["windows"]:
        assert (project.path / window["report"]).stat().st_size > 10_000


def test_the_window_joins_the_versioned_data(project: ProjectFolder, watched: dict) -> None:
    del watched
    feedback = project.path / "data/feedback/window-2.jsonl"
    benchmark = project.path / "data/benchmarks/window-2.jsonl"
    count = sum(len(path.read_text().splitlines()) for path in (feedback, benchmark))
    assert count == 80
    assert "window-2" in (project.path / "data.dvc").read_text()
    project.perpetune("collect")


def test_the_candidate_beats_the_champion_on_the_window(watched: dict) -> None:
    outcome = watched["retrain"]
    assert outcome["version"] == 2
    models = outcome["verdict"]["models"]
    champion = models["champion"]["benchmarks"]["window-2"]["loss"]["value"]
    candidate = models["candidate"]["benchmarks"]["window-2"]["loss"]["value"]
    assert candidate < champion
    assert outcome["verdict"]["reference"] == "champion"
    # The window is new, but held.jsonl is not.
    assert any("round 2 on these benchmarks" in note for note in outcome["verdict"]["notes"])


def test_windows_are_checked_once(project: ProjectFolder, watched: dict) -> None:
    del watched
    again = project.perpetune("watch", "--retrain")
    assert again == {"windows": [], "retrain": None}


def test_the_window_is_normal_for_the_model_that_learned_it(project: ProjectFolder) -> None:
    pending = project.perpetune("status")["pending"]
    assert pending, "the drift round's candidate waits"
    project.perpetune("approve", str(pending[0]["version"]), "--by", "Ada")
    status = project.perpetune("status")
    assert (status["champion"], status["previous"]) == (2, 1)
    rolled = project.perpetune("rollback", "--by", "Ada", "--comment", "trying it")
    assert rolled["after"]["champion"] == 1
