"""From a candidate that waits to a decision, as a reviewer goes: real servers, a real browser.

The tests use one platform in their order. `SCREENSHOTS=folder` keeps what the browser has shown.
"""

import contextlib
import http.server
import json
import os
import signal
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.forms import Form, Request, tend_forms
from flows.promote import Approval, carry_out
from tasks.registry import Candidate, Registry
from tasks.settings import Settings, load_settings
from tests.platform import CHROMIUM, QUIET, ask, free_port, wait_for
from tests.project import ProjectFolder, make_project

pytestmark = [pytest.mark.slow]
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

WAITING = "Awaiting decision"
MODEL = "seen"


def told(capsys: pytest.CaptureFixture[str], sentence: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{sentence}\n")


@dataclass
class Site:
    """A project and its platform."""

    project: ProjectFolder
    platform: dict[str, Any]

    @property
    def overrides(self) -> list[str]:
        return [
            f"project.state_dir={self.project.path / '.perpetune'}",
            f"project.tracking_uri={self.platform['mlflow_url']}",
        ]

    def settings(self, *overrides: str) -> Settings:
        return load_settings(self.project.path / "params.yaml", [*self.overrides, *overrides])

    def registry(self) -> Registry:
        return Registry(self.settings())

    def forms(self, *states: str) -> list[dict[str, Any]]:
        """Runs that are forms of this project, the newest first."""
        query: dict[str, Any] = {"flows": {"name": {"any_": ["promote"]}}}
        query["flow_runs"] = {"tags": {"all_": [f"model {MODEL}"]}}
        if states:
            query["flow_runs"]["state"] = {"name": {"any_": list(states)}}
        found = ask(self.project, f"{self.platform['prefect_api_url']}/flow_runs/filter", query)
        return sorted(found, key=lambda run: run["created"], reverse=True)

    def form_of(self, version: int, *states: str) -> dict[str, Any] | None:
        runs = [run for run in self.forms(*states) if run["parameters"]["version"] == version]
        return runs[0] if runs else None

    def waits(self, version: int) -> dict[str, Any]:
        return wait_for(lambda: self.form_of(version, WAITING), seconds=120)

    def text(self, run: dict[str, Any]) -> str:
        """What a form shows above its fields."""
        keys = run["state"]["state_details"]["run_input_keyset"]
        key = urllib.parse.quote(keys["description"])
        return ask(
            self.project, f"{self.platform['prefect_api_url']}/flow_runs/{run['id']}/input/{key}"
        )

    def answer(self, run: dict[str, Any], answer: Any) -> str:
        url = f"{self.platform['prefect_api_url']}/flow_runs/{run['id']}/resume"
        return ask(self.project, url, {} if answer is None else {"run_input": answer})["status"]

    def set_state(self, run: dict[str, Any], kind: str) -> None:
        url = f"{self.platform['prefect_api_url']}/flow_runs/{run['id']}/set_state"
        ask(self.project, url, {"state": {"type": kind}, "force": True})

    def tend(self, *overrides: str, reopen: bool = False) -> tuple[Form, ...]:
        """`tend_forms` in this process, as a flow on the platform calls it."""
        credential = (self.project.path / self.platform["credential"]).read_text().strip()
        api = self.platform["prefect_api_url"]
        settings = {PREFECT_API_URL: api, PREFECT_API_AUTH_STRING: credential}
        with pytest.MonkeyPatch.context() as patch, temporary_settings(settings):
            patch.setenv("PREFECT_API_URL", api)
            request = Request(self.settings(*overrides), "params.yaml", [])
            return tend_forms(request, reopen=reopen)

    def add_candidate(self) -> int:
        """One more version that waits: what the first round brought, under another key."""
        rounds = self.project.path / ".perpetune/rounds"
        (first,) = (path for path in rounds.iterdir() if (path / "sweep/best").is_dir())
        registry = self.registry()
        key = f"stub-{time.monotonic_ns()}"
        run = registry.tracking.open_round(key, name=key, params={}, tags={}, datasets=[])
        verdict = json.loads((first / "evaluate/verdict.json").read_text())
        evidence = (first / "evaluate/review.html",)
        candidate = Candidate(first / "sweep/best", True, verdict, "A card.", evidence)
        return registry.register(run, key, candidate).number


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, prefect_home: Path
) -> Iterator[Site]:
    """A candidate that was registered before there was a platform; then `perpetune up`."""
    project = make_project(tmp_path_factory.mktemp("see it") / "p", tiny_base, prefect_home)
    params = project.path / "params.yaml"
    params.write_text(params.read_text().replace("name: tiny", f"name: {MODEL}", 1))
    project.environment["PREFECT_WORKER_QUERY_SECONDS"] = "2"
    ran = project.perpetune("run")
    assert ran["links"]["form"] is None
    ports = [f"platform.prefect_port={free_port()}", f"platform.mlflow_port={free_port()}"]
    try:
        yield Site(project, project.perpetune("up", "--set", ports[0], "--set", ports[1]))
    finally:
        project.perpetune("down")


class Reviewer:
    """A person at a browser, whose clicks are counted."""

    def __init__(self, site: Site, page: Any, folder: Path) -> None:
        self.site, self.page, self.folder = site, page, folder
        self.clicks = 0
        self.foreign: set[str] = set()
        page.on("request", self._note)

    def _note(self, request: Any) -> None:
        host = urllib.parse.urlsplit(request.url).hostname
        if host not in (None, "", "127.0.0.1"):
            self.foreign.add(host)

    def click(self, place: Any) -> None:
        place.click()
        self.clicks += 1

    def submit(self, button: Any) -> None:
        """Click; where the server's database was busy, what the page has sent is sent again."""
        with self.page.expect_response(lambda answer: answer.url.endswith("/resume")) as sent:
            self.click(button)
        answer: Any = sent.value
        for _ in range(5):
            if answer.status != 503:
                break
            time.sleep(1)
            answer = self.page.request.fetch(sent.value.request)
        assert answer.ok, answer.status

    def shoot(self, name: str) -> None:
        self.page.screenshot(path=self.folder / f"{name}.png")

    def fill(self, form: Any, *texts: str) -> None:
        """Click the first field, and go on by keyboard: all three are plain text."""
        fields = form.locator("textarea")
        self.click(fields.first)
        for number, text in enumerate(texts):
            fields.nth(number).focus()
            self.page.keyboard.type(text)

    def sign_in(self, url: str) -> None:
        """Once for a platform; the page that was asked for comes by itself."""
        self.page.goto(url)
        platform = self.site.platform
        credential = (self.site.project.path / platform["credential"]).read_text().strip()
        self.page.locator("input[type=password]").fill(credential)
        self.page.keyboard.press("Enter")


@pytest.fixture
def reviewer(site: Site, tmp_path: Path) -> Iterator[Reviewer]:
    from playwright.sync_api import sync_playwright

    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        found = Reviewer(site, page, folder)
        yield found
        browser.close()
    assert found.foreign == set(), "the pages ask nobody else"


def test_up_opens_the_form_of_a_candidate_that_came_before_it_and_only_one(site: Site) -> None:
    (waiting,) = site.platform["waiting"]
    assert waiting["version"] == 1
    assert "/artifacts/evaluate/review.html" in waiting["review_url"]
    page = f"/models/{MODEL}/versions/1?workflowType=machine_learning"
    assert waiting["version_url"].endswith(page)
    again = site.project.perpetune("up")
    assert again["waiting"] == [waiting]
    found: list[tuple[Form, ...]] = []
    threads = [threading.Thread(target=lambda: found.append(site.tend())) for _ in range(3)]
    with pytest.MonkeyPatch.context() as patch:  # or the first to end would take it from the others
        patch.setenv("PREFECT_API_URL", site.platform["prefect_api_url"])
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == len(threads)
    assert {form.url for forms in found for form in forms} == {waiting["form_url"]}
    assert len(site.forms()) == 1


def test_the_form_shows_verdict_and_links_and_who_is_asked(site: Site) -> None:
    text = site.text(site.waits(1))
    (waiting,) = site.platform["waiting"]
    for link in (waiting["review_url"], waiting["version_url"]):
        assert f"(<{link}>)" in text
    assert "held-out examples" in text and "| held | loss |" in text
    assert "identifies nobody" in text and "perpetune approve 1 --by NAME" in text


LONG = {"action": "approve", "by": "Ada", "comment": "x" * 2500}


@pytest.mark.parametrize(
    "answer",
    [
        LONG,
        {"action": "reject", "by": "x" * 201},
        {"action": "approve", "by": "A\0da"},
        {"action": "reject", "by": "Ada", "comment": "\ud800"},
        {"action": "approve", "by": " \t"},
        {"action": "approve", "by": ""},
        {"action": "promote", "by": "Ada"},
    ],
    ids=["long comment", "long name", "NUL", "surrogate", "blank", "empty", "action"],
)
def test_what_the_registry_refuses_becomes_a_sentence(site: Site, answer: dict[str, str]) -> None:
    registry = site.registry()
    problem = carry_out(registry, site.settings(), 1, Approval(**answer), None)
    assert problem
    assert registry.status().challenger == 1 and not registry.history()


def test_policy_is_asked_again_too(site: Site) -> None:
    settings = site.settings("decisions.review=required")
    answer = Approval(action="approve", by="Ada")
    assert "review" in carry_out(Registry(settings), settings, 1, answer, None)
    strict = site.settings("decisions.authentication=required")
    assert "does not know who you are" in carry_out(Registry(strict), strict, 1, answer, None)
    assert carry_out(site.registry(), site.settings(), 1, answer, "0" * 64), "something changed"
    assert site.registry().status().challenger == 1


def test_answers_that_cannot_be_used_are_asked_again(site: Site) -> None:
    run = site.waits(1)
    assert site.answer(run, {"action": "approve"}) == "REJECT"
    assert site.waits(1)["state"]["id"] == run["state"]["id"], "the form is still open"
    assert site.answer(run, LONG) == "ACCEPT"
    wait_for(lambda: site.waits(1)["state"]["id"] != run["state"]["id"], 120)
    again = site.waits(1)
    assert again["id"] == run["id"]
    assert "2500 characters" in site.text(again)
    site.set_state(again, "SCHEDULED")  # somebody resumes it without an answer
    wait_for(lambda: site.waits(1)["state"]["id"] != again["state"]["id"], 120)
    assert "without an answer" in site.text(site.waits(1))
    assert site.project.perpetune("status")["challenger"] == 1


def test_a_form_survives_the_death_of_worker_and_server(site: Site) -> None:
    before = site.waits(1)
    for name in ("worker", "prefect"):
        os.killpg(site.platform["processes"][name]["pid"], signal.SIGKILL)
    site.platform = site.project.perpetune("up")
    after = site.waits(1)
    assert (after["id"], after["state"]["id"]) == (before["id"], before["state"]["id"])
    assert site.platform["waiting"][0]["form_url"].endswith(before["id"])


@needs_browser
@pytest.mark.browser
def test_from_mlflows_start_page_to_the_evidence(
    site: Site, reviewer: Reviewer, capsys: pytest.CaptureFixture[str]
) -> None:
    page = reviewer.page
    page.goto(site.platform["mlflow_url"])
    models = page.get_by_role("link", name="Model registry")
    models.wait_for()
    reviewer.shoot("mlflow-0-start")
    reviewer.click(models)
    page.get_by_role("link", name="Version 1").first.wait_for()
    reviewer.shoot("mlflow-1-models")
    reviewer.click(page.get_by_role("link", name="Version 1").first)
    page.get_by_text("held-out examples").first.wait_for()
    reviewer.shoot("mlflow-2-version")
    clicks = reviewer.clicks
    page.goto(site.platform["waiting"][0]["review_url"])
    page.frame_locator("iframe").first.locator("h1").first.wait_for()
    page.wait_for_timeout(500)
    reviewer.shoot("mlflow-3-review-sheet")
    told(capsys, f"clicks from MLflow's start page to the version's page: {clicks}")
    assert clicks <= 3


@needs_browser
@pytest.mark.browser
def test_from_prefects_start_page_to_an_approval(
    site: Site, reviewer: Reviewer, capsys: pytest.CaptureFixture[str]
) -> None:
    page = reviewer.page
    reviewer.sign_in(site.platform["prefect_url"])
    page.get_by_text("Flow Runs").first.wait_for()
    reviewer.shoot("prefect-0-start")
    assert page.get_by_text("Oops").count() == 0
    reviewer.click(page.get_by_text("Runs", exact=True).first)
    reviewer.click(page.get_by_text(f"Decide on {MODEL} version 1").first)
    reviewer.click(page.get_by_role("button", name="Resume"))
    form = page.get_by_role("dialog").last
    form.get_by_text("held-out examples").first.wait_for()
    page.wait_for_timeout(500)
    reviewer.shoot("prefect-1-form")
    before = reviewer.clicks
    reviewer.fill(form, "approve", "Ada Lovelace", "<b>reads well</b>")
    reviewer.shoot("prefect-2-filled")
    reviewer.submit(form.get_by_role("button", name="Submit"))
    told(capsys, f"classic pages: {before} clicks to the form, {reviewer.clicks - before} after")
    assert reviewer.clicks - before <= 3
    wait_for(lambda: site.form_of(1, "Approved"), 240)
    status = site.project.perpetune("status")
    assert (status["champion"], status["challenger"]) == (1, None)
    (decision,) = site.registry().history()
    assert (decision.by, decision.identity) == ("Ada Lovelace", "claimed")


@needs_browser
@pytest.mark.browser
def test_a_link_to_the_form_signs_in_first_and_the_newer_pages_reject(
    site: Site, reviewer: Reviewer, capsys: pytest.CaptureFixture[str]
) -> None:
    version = site.add_candidate()
    (form,) = site.tend()
    run = site.waits(version)
    page = reviewer.page
    there = urllib.parse.urlsplit(form.url).path
    # In the newer design; the browser is led to the sign-in page and back.
    reviewer.sign_in(f"{site.platform['prefect_url']}/v2{there}")
    menu = page.get_by_role("button", name="Open menu")
    menu.wait_for()
    reviewer.click(menu)
    reviewer.click(page.get_by_role("menuitem", name="Resume"))
    dialog = page.get_by_role("dialog").last
    dialog.get_by_text("held-out examples").first.wait_for()
    reviewer.shoot("prefect-v2-1-form")
    before = reviewer.clicks
    reviewer.fill(dialog, "Reject", "Grace Hopper", "")
    reviewer.shoot("prefect-v2-2-filled")
    reviewer.submit(dialog.get_by_role("button", name="Resume"))
    told(
        capsys,
        f"newer pages: {before} clicks from the link to the form, {reviewer.clicks - before} after",
    )
    assert reviewer.clicks - before <= 3
    wait_for(lambda: site.form_of(version, "Rejected"), 240)
    assert site.form_of(version)["id"] == run["id"]
    assert site.project.perpetune("status")["challenger"] is None


def test_forms_and_candidates_keep_in_step(site: Site) -> None:
    first = site.add_candidate()
    site.tend()
    site.waits(first)
    second = site.add_candidate()
    (form,) = site.tend()
    assert form.version == second
    assert site.form_of(first)["state"]["name"] == "Superseded"

    site.waits(second)
    assert site.tend("platform.approval_timeout_hours=1e-6") == ()
    expired = site.form_of(second)
    assert (expired["state"]["name"], expired["state"]["type"]) == ("Expired", "CANCELLED")
    assert site.registry().status().challenger == second, "the candidate stays"
    assert site.tend() == (), "nobody is asked again and again"
    (form,) = site.tend(reopen=True)
    assert site.form_of(second)["id"] != expired["id"]

    for kind, reopened in (("CRASHED", False), ("CANCELLED", True)):
        dead = site.waits(second)
        site.set_state(dead, kind)
        (form,) = site.tend(reopen=reopened)
        assert not form.url.endswith(dead["id"])

    site.waits(second)
    site.project.perpetune("reject", str(second), "--by", "Grace Hopper")
    closed = site.form_of(second)
    assert (closed["state"]["name"], closed["state"]["type"]) == ("Decided elsewhere", "COMPLETED")
    assert "rejected by Grace Hopper" in closed["state"]["message"]
    assert "needs decision" not in closed["tags"]


@contextlib.contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A receiver of notifications: the setting that names it, and what it was told."""
    told: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"notify.hooks=[{{url: 'http://127.0.0.1:{server.server_port}/'}}]", told
        server.shutdown()


def test_people_are_told_once_each(site: Site) -> None:
    version = site.add_candidate()
    with receiver() as (hook, told):
        site.tend(hook, "platform.reminder_hours=0")
        run = site.waits(version)
        created = datetime.fromisoformat(run["created"].replace("Z", "+00:00"))
        hours = (datetime.now(UTC) - created).total_seconds() / 3600 / 1.5
        for _ in range(2):
            site.tend(hook, f"platform.reminder_hours={hours}")
        site.project.perpetune("approve", str(version), "--by", "Ada", "--set", hook)
    assert [item["event"] for item in told] == ["waiting", "reminder", "decided"]
    assert told[2]["by"] == "Ada"
    assert told[0]["form"].endswith(run["id"])


def test_mlflow_away_while_the_form_is_answered(site: Site) -> None:
    version = site.add_candidate()
    site.tend()
    run = site.waits(version)
    # The supervisor as well: it would start MLflow again before anybody meets it away.
    record = json.loads((site.project.path / ".perpetune/platform.json").read_text())
    os.kill(record["supervisor"]["pid"], signal.SIGKILL)
    os.killpg(record["processes"]["mlflow"]["pid"], signal.SIGKILL)
    site.answer(run, {"action": "approve", "by": "Ada", "comment": ""})
    wait_for(lambda: site.waits(version)["state"]["id"] != run["state"]["id"], 240)
    assert "does not answer" in site.text(site.waits(version))
    site.platform = site.project.perpetune("up")
    assert site.project.perpetune("status")["challenger"] == version
    again = site.waits(version)
    assert again["id"] == run["id"]
    site.answer(again, {"action": "approve", "by": "Ada", "comment": ""})
    wait_for(lambda: site.form_of(version, "Approved"), 120)


def test_prefect_away_while_somebody_decides_in_a_terminal(site: Site) -> None:
    version = site.add_candidate()
    site.tend()
    site.waits(version)
    os.killpg(site.platform["processes"]["prefect"]["pid"], signal.SIGKILL)
    decided = site.project.perpetune("approve", str(version), "--by", "Ada")
    assert decided["version"] == version
    site.platform = site.project.perpetune("up")
    assert site.form_of(version)["state"]["name"] == "Decided elsewhere"
    assert site.platform["waiting"] == []
