"""The schedules of prefect.yaml where the clock is set for daylight saving."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import CronSchedule
from ruamel.yaml import YAML

from tests.conftest import PROJECT

ZONES = {
    "Europe/Berlin": ((2026, 3, 29), (2026, 10, 25)),
    "America/New_York": ((2026, 3, 8), (2026, 11, 1)),
    "Australia/Lord_Howe": ((2026, 4, 5), (2026, 10, 4)),  # by half an hour
}


def crons() -> list[str]:
    with (PROJECT / "prefect.yaml").open() as file:
        deployments = YAML(typ="safe").load(file)["deployments"]
    found = [schedule["cron"] for item in deployments for schedule in item.get("schedules", [])]
    assert len(found) >= 3
    return sorted(set(found))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", crons())
def test_no_day_is_left_out_or_has_two_runs_when_the_clock_changes(cron: str, zone: str) -> None:
    schedule = CronSchedule(cron=cron, timezone=zone)
    hourly, weekly = cron.split()[1] == "*", cron.split()[4] != "*"
    for day in ZONES[zone]:
        start = datetime(*day, tzinfo=UTC) - timedelta(days=8)
        dates = asyncio.run(schedule.get_dates(400 if hourly else 20, start))
        times = [datetime.fromtimestamp(date.timestamp(), UTC) for date in dates]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        if hourly:
            # Prefect leaves out the hour that comes twice in autumn. The hour after looks at all
            # windows that have come since.
            longer = [gap for gap in gaps if gap != timedelta(hours=1)]
            assert len(longer) <= 2
            assert all(timedelta(0) < gap <= timedelta(hours=2) for gap in longer)
            continue
        local = [time.astimezone(ZoneInfo(zone)).date() for time in times]
        step = timedelta(days=7 if weekly else 1)
        assert [later - earlier for earlier, later in pairwise(local)] == [step] * len(gaps)
        assert all(abs(gap - step) <= timedelta(hours=1) for gap in gaps)


def test_the_schedules_as_they_are_shipped_have_no_such_nights() -> None:
    with (PROJECT / "prefect.yaml").open() as file:
        deployments = YAML(typ="safe").load(file)["deployments"]
    zones = {s["timezone"] for item in deployments for s in item.get("schedules", [])}
    assert zones == {"UTC"}
