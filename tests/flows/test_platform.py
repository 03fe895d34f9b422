"""The platform as people use it: real servers, a real worker, a real browser."""

import json
import os
import shutil
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import ProjectFolder, make_project

pytestmark = [pytest.mark.slow]

CHROMIUM = shutil.which("chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what: Callable[[], Any], seconds: float = 240) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(1)
    raise AssertionError("waited in vain")


def flow_runs(platform: dict[str, Any], name: str, state: str) -> list[dict[str, Any]]:
    query = {
        "flows": {"name": {"any_": [name]}},
        "flow_runs": {"state": {"name": {"any_": [state]}}},
    }
    request = urllib.request.Request(
        f"{platform['prefect_api_url']}/flow_runs/filter",
        json.dumps(query).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


@pytest.fixture(scope="module")
def up(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, prefect_home: Path
) -> Iterator[tuple[ProjectFolder, dict[str, Any]]]:
    """A project with its platform running and one candidate that waits."""
    project = make_project(tmp_path_factory.mktemp("platform") / "p", tiny_base, prefect_home)
    ports = [f"platform.prefect_port={free_port()}", f"platform.mlflow_port={free_port()}"]
    platform = project.perpetune("up", "--set", ports[0], "--set", ports[1])
    try:
        project.perpetune("run")
        yield project, platform
    finally:
        stopped = project.perpetune("down")
    assert set(stopped["stopped"]) == {"prefect", "mlflow", "worker"}
    for process in platform["processes"].values():
        with pytest.raises(ProcessLookupError):
            os.kill(process["pid"], 0)


def test_both_servers_answer_and_the_deployments_are_scheduled(
    up: tuple[ProjectFolder, dict[str, Any]],
) -> None:
    project, platform = up
    for url in (f"{platform['prefect_api_url']}/health", f"{platform['mlflow_url']}/health"):
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.status == 200
    assert flow_runs(platform, "retrain", "Scheduled")
    assert flow_runs(platform, "watch", "Scheduled")
    assert project.perpetune("up") == platform, "a second `up` finds the first"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_reviewer_looks_in_mlflow_and_approves_in_prefect(
    up: tuple[ProjectFolder, dict[str, Any]],
) -> None:
    from playwright.sync_api import sync_playwright

    project, platform = up
    waiting = wait_for(lambda: flow_runs(platform, "promote", "Suspended"))
    assert len(waiting) == 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})

        page.goto(f"{platform['mlflow_url']}/#/models/tiny/versions/1")
        page.get_by_text("challenger").first.wait_for()
        # The description: what the reviewer decides on.
        page.get_by_text("held").first.wait_for()

        page.goto(f"{platform['prefect_url']}/runs/flow-run/{waiting[0]['id']}")
        page.get_by_role("button", name="Resume").first.click()
        form = page.get_by_role("dialog").last

        def field(label: str) -> Any:
            heading = page.locator(".schema-form-property__label", has_text=label)
            return form.locator(".schema-form-property").filter(has=heading)

        form.get_by_text("held").first.wait_for()
        field("Action").locator(".p-select-button__control").focus()
        page.keyboard.press("ArrowDown")
        page.locator(".p-select-option__text", has_text="approve").click()
        field("By").locator("textarea").fill("Ada Lovelace")
        field("Comment").locator("textarea").fill("<b>reads well</b>")
        form.get_by_role("button", name="Submit").click()
        wait_for(lambda: project.perpetune("status")["champion"] == 1)
        wait_for(lambda: flow_runs(platform, "promote", "Completed"))
        browser.close()
    status = project.perpetune("status")
    assert (status["challenger"], status["pending"]) == (None, [])


def test_drift_starts_a_round_by_its_event(up: tuple[ProjectFolder, dict[str, Any]]) -> None:
    project, platform = up
    if project.perpetune("status")["champion"] is None:
        project.perpetune("approve", "1", "--by", "Ada Lovelace")
    # Prefect's database is that of the whole session: other tests' rounds are in it.
    before = {run["id"] for run in flow_runs(platform, "retrain", "Completed")}
    watched = project.perpetune("watch")
    assert [window["drift"] for window in watched["windows"]] == [False, True]
    assert watched["retrain"] is None

    def answered() -> bool:
        rounds = flow_runs(platform, "retrain", "Completed")
        return any("drift in window-2" in run["name"] and run["id"] not in before for run in rounds)

    wait_for(answered, seconds=400)
    assert [item["version"] for item in project.perpetune("status")["pending"]] == [2]
