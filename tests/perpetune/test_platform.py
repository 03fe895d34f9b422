"""The platform as people use it: real servers, a real worker, a real browser."""

import contextlib
import http.server
import json
import os
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.platform import CHROMIUM, QUIET, ask, free_port, wait_for
from tests.project import ProjectFolder, make_project

pytestmark = [pytest.mark.slow]
QUIET_SECONDS = 6
"""How long further alarms start no round."""


def flow_runs(up: tuple[ProjectFolder, dict[str, Any]], name: str, *states: str) -> list[dict]:
    project, platform = up
    query: dict[str, Any] = {"flows": {"name": {"any_": [name]}}}
    if states:
        query["flow_runs"] = {"state": {"name": {"any_": list(states)}}}
    return ask(project, f"{platform['prefect_api_url']}/flow_runs/filter", query)


@pytest.fixture(scope="module")
def up(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, prefect_home: Path
) -> Iterator[tuple[ProjectFolder, dict[str, Any]]]:
    """A project with its platform running and one candidate that waits."""
    project = make_project(tmp_path_factory.mktemp("platform") / "p", tiny_base, prefect_home)
    project.environment["PREFECT_WORKER_QUERY_SECONDS"] = "2"
    deployments = project.path / "prefect.yaml"
    deployments.write_text(
        deployments.read_text().replace("within: 600", f"within: {QUIET_SECONDS}")
    )
    (project.path / "models").mkdir()
    (project.path / "models/second.yaml").write_text("tune: {max_steps: 3}\n")
    ports = [f"platform.prefect_port={free_port()}", f"platform.mlflow_port={free_port()}"]
    platform = project.perpetune("up", "--set", ports[0], "--set", ports[1])
    try:
        project.perpetune("run", "--reason", "the first <b>round</b>")
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
    for flow in ("retrain", "watch", "forms", "housekeeping"):
        models = {run["parameters"]["model"] for run in flow_runs(up, flow, "Scheduled")}
        assert models == {None, "second"}, flow
    again = project.perpetune("up")
    assert again["processes"] == platform["processes"], "a second `up` finds the first"


def artifacts(up: tuple[ProjectFolder, dict[str, Any]], run: str) -> dict[str, Any]:
    """What the page of a run shows, by key."""
    project, platform = up
    query = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    found = ask(project, f"{platform['prefect_api_url']}/artifacts/filter", query)
    return {item["key"]: item for item in found}


def test_the_page_of_a_run_tells_the_story(up: tuple[ProjectFolder, dict[str, Any]]) -> None:
    (run,) = flow_runs(up, "retrain", "Completed")
    assert run["state"]["message"] == "Version 1 waits for a decision."
    assert {"model tiny", "reason the first <b>round</b>"} <= set(run["tags"])
    shown = artifacts(up, run["id"])
    assert set(shown) == {
        f"{name}-tiny"
        for name in (
            *("progress", "trials", "curves", "heatmap", "verdict", "metrics"),
            *("round", "version", "review", "form"),
        )
    }
    assert shown["progress-tiny"]["data"] == 100
    assert len(json.loads(shown["trials-tiny"]["data"])) == 4
    assert shown["curves-tiny"]["data"].startswith("data:image/png;base64,")
    assert "held-out examples" in shown["verdict-tiny"]["data"]
    assert "&lt;b&gt;round&lt;/b&gt;" in shown["round-tiny"]["data"]
    assert "/models/tiny/versions/1" in shown["version-tiny"]["data"]


# What a web page can send to another origin, with and without asking the server first (CORS).
FOREIGN_PAGE = """<!doctype html><iframe name="hidden"></iframe><script>
async function attack(posts, api) {
  const sent = (url, options) => fetch(url, options).then(answer => answer.ok, () => false);
  let taken = 0;
  for (const [url, body] of posts) {
    const text = JSON.stringify(body);
    for (const mode of ["no-cors", "cors"]) {
      for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/json"]) {
        const headers = {"Content-Type": type};
        const options = {method: "POST", mode, body: text, headers, credentials: "include"};
        taken += await sent(url, options);
      }
      // A blob without a type goes out without a Content-Type.
      taken += await sent(url, {method: "POST", mode, body: new Blob([text])});
    }
    const token = await fetch(`${api}/csrf-token?client=page`).then(r => r.json(), () => ({}));
    for (const password of [btoa("perpetune:perpetune"), btoa(":")]) {
      const headers = {"Content-Type": "application/json", Authorization: `Basic ${password}`,
        "Prefect-Csrf-Client": "page", "Prefect-Csrf-Token": `${token.token}`};
      taken += await sent(url, {method: "POST", body: text, headers});
    }
    navigator.sendBeacon(url, new Blob([text], {type: "text/plain"}));
    const form = document.createElement("form");
    Object.assign(form, {method: "post", action: url, enctype: "text/plain", target: "hidden"});
    const field = document.createElement("input");
    field.name = `${text.slice(0, -1)},"x":"`;
    field.value = '"}';
    form.append(field);
    document.body.append(form);
    form.submit();
    await new Promise(next => setTimeout(next, 500));
  }
  const event = {event: "perpetune.drift.detected",
    resource: {"prefect.resource.id": "perpetune.model.tiny"},
    id: crypto.randomUUID(), occurred: new Date().toISOString(),
    payload: {reason: "a foreign page says so"}};
  for (const protocols of [[], ["prefect"]]) {
    const socket = new WebSocket(`${api.replace("http", "ws")}/events/in`, protocols);
    await new Promise(next => {
      socket.onclose = next;
      socket.onopen = () => {
        socket.send(JSON.stringify({type: "auth", token: "guess"}));
        socket.send(JSON.stringify(event));
        setTimeout(next, 3000);
      };
    });
  }
  return taken;
}
</script>"""


@contextlib.contextmanager
def served(page: str) -> Iterator[int]:
    """A web server with one page, on a port of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def attacks(up: tuple[ProjectFolder, dict[str, Any]], marker: Path) -> list[tuple[str, Any]]:
    """Approve the candidate, run a command, move an alias: addresses and bodies."""
    project, platform = up
    api = platform["prefect_api_url"]
    suspended = flow_runs(up, "promote", "Awaiting decision")[0]["id"]
    deployment = ask(project, f"{api}/deployments/name/watch/hourly")["id"]
    command = {
        "state": {"type": "SCHEDULED"},
        "job_variables": {"command": f"touch {marker}"},
        "name": "a command",
    }
    approve = {"run_input": {"action": "approve", "by": "Mallory", "comment": ""}}
    alias = {"name": "tiny", "alias": "champion", "version": "1"}
    return [
        (f"{api}/flow_runs/{suspended}/resume", approve),
        (f"{api}/deployments/{deployment}/create_flow_run", command),
        (f"{platform['mlflow_url']}/api/2.0/mlflow/registered-models/alias", alias),
        (f"{platform['mlflow_url']}/ajax-api/2.0/mlflow/registered-models/alias", alias),
    ]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_can_neither_approve_nor_run_a_command(
    up: tuple[ProjectFolder, dict[str, Any]], tmp_path: Path, host: str
) -> None:
    from playwright.sync_api import sync_playwright

    project, platform = up
    wait_for(lambda: flow_runs(up, "promote", "Awaiting decision"))
    marker = tmp_path / "ran"
    posts = attacks(up, marker)
    before = {name: {run["id"] for run in flow_runs(up, name)} for name in ("watch", "promote")}
    statuses = []
    with served(FOREIGN_PAGE) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page()
        page.on("response", lambda answer: statuses.append((answer.url, answer.status)))
        page.goto(f"http://{host}:{port}/")
        taken = page.evaluate(
            "([posts, api]) => attack(posts, api)", [posts, platform["prefect_api_url"]]
        )
        browser.close()
    assert taken == 0, "no answer was good"
    for url, _ in posts:
        assert {status for seen, status in statuses if seen == url} <= {400, 401, 403}
        assert any(seen == url for seen, _ in statuses), "the page's requests do arrive"
    time.sleep(5)  # the worker asks for scheduled runs every two seconds
    assert not marker.exists()
    after = {name: {run["id"] for run in flow_runs(up, name)} for name in before}
    assert after["watch"] == before["watch"]
    assert after["promote"] == before["promote"]
    assert flow_runs(up, "promote", "Awaiting decision")
    assert not [run for run in flow_runs(up, "retrain") if "foreign" in run["name"]]
    status = project.perpetune("status")
    assert (status["champion"], status["challenger"]) == (None, 1)


def test_the_same_request_with_the_credential_runs_the_command(
    up: tuple[ProjectFolder, dict[str, Any]], tmp_path: Path
) -> None:
    project, _ = up
    wait_for(lambda: flow_runs(up, "promote", "Awaiting decision"))
    marker = tmp_path / "ran"
    url, command = attacks(up, marker)[1]
    request = urllib.request.Request(
        url, json.dumps(command).encode(), {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=60)
    assert ask(project, url, command)["state"]["type"] == "SCHEDULED"
    wait_for(marker.exists, seconds=60)


def test_the_credential_is_for_this_user_and_appears_nowhere_else(
    up: tuple[ProjectFolder, dict[str, Any]],
) -> None:
    project, platform = up
    path = project.path / platform["credential"]
    secret = path.read_text().strip().partition(":")[2]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert project.run("git", "check-ignore", str(path)).stdout.strip()
    for process in psutil.process_iter(["cmdline"]):
        assert secret not in " ".join(process.info["cmdline"] or [])
    files = [file for file in project.path.rglob("*") if file.is_file() and file != path]
    assert len([file for file in files if file.suffix == ".log"]) == 4
    assert [str(file) for file in files if secret.encode() in file.read_bytes()] == []


def new_run(up: tuple[ProjectFolder, dict[str, Any]], deployment: str, **body: Any) -> str:
    project, platform = up
    api = platform["prefect_api_url"]
    known = ask(project, f"{api}/deployments/name/{deployment}")["id"]
    return ask(project, f"{api}/deployments/{known}/create_flow_run", body)["id"]


def run_of(up: tuple[ProjectFolder, dict[str, Any]], run: str) -> dict[str, Any]:
    project, platform = up
    return ask(project, f"{platform['prefect_api_url']}/flow_runs/{run}")


def follower(up: tuple[ProjectFolder, dict[str, Any]], run: str) -> dict[str, Any] | None:
    """The run that goes on from one that crashed, once it is over."""
    tag = f"goes on from {run_of(up, run)['name']}"
    runs = [found for found in flow_runs(up, "retrain", "Completed") if tag in found["tags"]]
    return runs[0] if runs else None


def test_a_killed_round_goes_on_by_itself(up: tuple[ProjectFolder, dict[str, Any]]) -> None:
    project, _ = up
    run = new_run(up, "retrain/nightly", parameters={"reason": "killed"}, name="killed")
    record = project.path / f".perpetune/working/{run}.json"
    wait_for(record.is_file)
    os.kill(json.loads(record.read_text())["pid"], 9)
    after = wait_for(lambda: follower(up, run))
    assert run_of(up, run)["state"]["type"] == "CRASHED"
    assert after["parameters"]["reason"] == "killed"
    assert after["state"]["message"] == "Nothing has changed since version 1."
    assert "start 2" in after["tags"]


def test_what_nobody_ended_is_ended_by_up(up: tuple[ProjectFolder, dict[str, Any]]) -> None:
    project, platform = up
    run = new_run(up, "retrain/nightly", name="nobody's", state={"type": "PAUSED"})
    state = {"state": {"type": "RUNNING"}, "force": True}
    ask(project, f"{platform['prefect_api_url']}/flow_runs/{run}/set_state", state)
    ended = subprocess.Popen(["true"])
    ended.wait()
    record = {"run": run, "host": socket.gethostname(), "pid": ended.pid, "started": 0.0}
    path = project.path / f".perpetune/working/{run}.json"
    path.write_text(json.dumps(record))
    project.perpetune("up")
    assert run_of(up, run)["state"]["type"] == "CRASHED"
    assert not path.exists()
    wait_for(lambda: follower(up, run))


def test_many_events_are_one_round(up: tuple[ProjectFolder, dict[str, Any]]) -> None:
    project, platform = up
    before = {run["id"] for run in flow_runs(up, "retrain")}
    payload = {"alarm": "many", "params": "params.yaml", "model": "", "reason": "drift, many times"}
    events = [
        {
            "event": "perpetune.drift.detected",
            "id": str(uuid.uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "resource": {"prefect.resource.id": "perpetune.model.tiny"},
            "payload": payload | {"overrides": ["tune.patience=2"]},
        }
        for _ in range(50)
    ]
    ask(project, f"{platform['prefect_api_url']}/events", events)

    def answers() -> list[dict[str, Any]]:
        done = flow_runs(up, "retrain", "Completed")
        return [run for run in done if run["id"] not in before and "drift" in run["name"]]

    (run,) = wait_for(answers)
    assert run["parameters"]["overrides"] == ["tune.patience=2"]
    assert run["parameters"]["alarm"] == "many"
    time.sleep(QUIET_SECONDS)
    new = [found for found in flow_runs(up, "retrain") if "many times" in str(found["parameters"])]
    assert len(new) == 1


def test_drift_starts_a_round_by_its_event(up: tuple[ProjectFolder, dict[str, Any]]) -> None:
    project, _ = up
    if project.perpetune("status")["champion"] is None:
        project.perpetune("approve", "1", "--by", "Ada Lovelace")
    watched = project.perpetune("watch")
    assert [window["drift"] for window in watched["windows"]] == [False, True]
    assert (watched["told"], watched["retrain"]) == (True, None)

    def answered() -> bool:
        rounds = flow_runs(up, "retrain", "Completed")
        return any("drift in window-2" in run["name"] for run in rounds)

    wait_for(answered, seconds=400)
    assert [item["version"] for item in project.perpetune("status")["pending"]] == [2]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_schedule_alarm_and_story_are_seen_in_both_uis(
    up: tuple[ProjectFolder, dict[str, Any]], tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    project, platform = up
    (run,) = [
        found for found in flow_runs(up, "retrain", "Completed") if "window-2" in found["name"]
    ]
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1400, "height": 1600})
        page.goto(f"{platform['prefect_url']}/deployments")
        credential = (project.path / platform["credential"]).read_text().strip()
        page.locator("input[type=password]").fill(credential)
        page.keyboard.press("Enter")
        for name in ("nightly", "on-drift", "nightly-second"):  # ten are on a page
            page.get_by_text(name, exact=True).first.wait_for()
        page.get_by_text(re.compile(r"At \d\d:\d\d [AP]M")).first.wait_for()
        page.screenshot(path=folder / "prefect-deployments.png")
        page.goto(f"{platform['prefect_url']}/runs/flow-run/{run['id']}")
        page.get_by_text("drift in window-2").first.wait_for()
        page.get_by_text("Artifacts", exact=True).first.click()
        page.get_by_text("verdict-tiny").first.wait_for()
        page.screenshot(path=folder / "prefect-run-artifacts.png")
        picture = artifacts(up, run["id"])["curves-tiny"]["id"]
        page.goto(f"{platform['prefect_url']}/artifacts/artifact/{picture}")
        shown = page.locator("img[src^='data:image/png']").first
        shown.wait_for()
        assert shown.evaluate("image => image.naturalWidth") > 100
        page.screenshot(path=folder / "prefect-curves.png")
        link = artifacts(up, run["id"])["version-tiny"]["data"]
        address = link.partition("](")[2].rstrip(")").strip("<>")
        page.goto(address)
        page.get_by_text("held-out examples").first.wait_for()
        page.screenshot(path=folder / "mlflow-version-of-the-alarm.png")
        browser.close()


def test_what_ends_is_started_again_and_up_keeps_the_rest(
    up: tuple[ProjectFolder, dict[str, Any]],
) -> None:
    project, platform = up
    before = {name: process["pid"] for name, process in platform["processes"].items()}
    os.kill(before["worker"], 9)

    def back() -> bool:
        state = project.perpetune("status")["platform"]
        return not state["gone"] and dict(state["restarts"]).get("worker") == 1

    wait_for(back, seconds=120)
    again = {name: item["pid"] for name, item in project.perpetune("up")["processes"].items()}
    assert again["worker"] != before["worker"]
    assert {name: again[name] for name in ("prefect", "mlflow")} == {
        name: before[name] for name in ("prefect", "mlflow")
    }
    platform["processes"]["worker"]["pid"] = again["worker"]
