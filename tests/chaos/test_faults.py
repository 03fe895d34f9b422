"""Faults in a small real loop: nothing is lost, nothing is there twice, and the loop goes on.

The counts of many moments are printed by `python -m benchmarks.chaos --moments 50`.
"""

from collections.abc import Iterator
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


@pytest.mark.slow
def test_mlflow_is_away_while_the_search_runs(ground: Ground) -> None:
    goes_on(faults.mlflow_away(ground, 5))


@pytest.mark.slow
def test_postgres_restarts_in_mid_round(ground: Ground) -> None:
    goes_on(faults.postgres_restart(ground, 1, seed=0))
