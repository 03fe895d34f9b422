"""Faults in a small real loop: nothing is lost, nothing is there twice, and the loop goes on.

The counts of many moments are printed by `python -m benchmarks.chaos --moments 50`.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.chaos import faults, loop
from benchmarks.chaos.ground import Ground, Result, prefect_server
from tests.project import make_project


@pytest.fixture(scope="module")
def ground(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, prefect_home: Path
) -> Iterator[Ground]:
    scratch = tmp_path_factory.mktemp("chaos")
    template = make_project(scratch / "template", tiny_base, prefect_home)
    with prefect_server(prefect_home) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)  # what the processes of laps are forked from reads them
        loop.preload()
        yield Ground(template.path, scratch, environment)


def goes_on(result: Result) -> None:
    assert result.problems == (), result
    assert result.went_on == result.times, result


def test_a_flow_is_killed_at_random_moments(ground: Ground) -> None:
    goes_on(faults.killed_flow(ground, 2, seed=3))


def test_a_disk_that_is_full_is_said_and_nothing_is_half_written(ground: Ground) -> None:
    goes_on(faults.disk_full(ground, 2, seed=0))


def test_a_home_that_cannot_be_written_is_not_needed(ground: Ground) -> None:
    goes_on(faults.home_that_cannot_be_written(ground, [["status"]]))


def test_two_models_work_at_once_and_do_not_touch_each_other(ground: Ground) -> None:
    project = ground.project("default")
    project.path.joinpath("models").mkdir()
    project.path.joinpath("models/second.yaml").write_text("tune: {batch_size: 4}\n")
    first = replace(ground.lap(project), overrides=loop.SMALL)
    second = replace(first, model="second")
    processes = [loop.start(lap) for lap in (first, second)]
    for lap, process in zip((first, second), processes, strict=True):
        process.join()
        assert process.exitcode == 0, loop.last_words(lap, 20)

    for name in (None, "second"):
        found = loop.examine(project, 1, model=name)
        assert found.problems == [] and (found.versions, found.decisions) == (1, 1)
    state = project.path / ".perpetune"
    rounds = {path.name for path in state.glob("rounds/*")}
    others = {path.name for path in state.glob("by-model/second/rounds/*")}
    assert len(rounds) == len(others) == 1 and rounds != others
    curated = project.path / "artifacts/curated/train.jsonl"
    assert curated.is_file() and list(state.glob("by-model/second/curated/*/train.jsonl"))
    assert (state / "round.lock").exists() and (state / "by-model/second/round.lock").exists()
    logs = {path.stem for path in state.glob("decisions/*.jsonl")}
    assert logs == {"tiny", "second"}


@pytest.mark.slow
def test_mlflow_is_away_while_the_search_runs(ground: Ground) -> None:
    goes_on(faults.mlflow_away(ground, 5))


@pytest.mark.slow
def test_postgres_restarts_in_mid_round(ground: Ground) -> None:
    goes_on(faults.postgres_restart(ground, 1, seed=0))
