"""The registry against an MLflow server over HTTP: the same main path as on a database."""

import base64
import http.server
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core import files
from tasks.core.errors import Refused
from tasks.registry import Candidate, DatasetRef, Registry, shadow
from tasks.registry.connection import Connection
from tasks.registry.identity import check_identity
from tasks.settings import Settings
from tasks.tune.sweep import Trial

DATA = DatasetRef("train", "train.jsonl", "0" * 32 + ".dir", "training")
TRIAL = Trial(number=0, params={"rank": 8}, state="pruned", steps=2, seconds=1.0)


@pytest.fixture(scope="module")
def server(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(mlflow_database, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


@pytest.mark.slow
def test_the_main_path_over_http(server: str, plain_adapter: Path, tmp_path: Path) -> None:
    project = {"name": "served.model", "state_dir": str(tmp_path / "state"), "tracking_uri": server}
    registry = Registry(Settings.model_validate({"project": project}))
    assert registry.status().champion is None
    files.write_jsonl(tmp_path / "curve.jsonl", ({"step": s, "loss": s} for s in range(1500)))
    (tmp_path / "reference.jsonl").write_text("{}\n")

    for number in (1, 2):
        key = f"k{number}"
        for _ in range(2):  # as if killed and run again
            run = registry.tracking.open_round(
                key, name=key, params={"a": {"b": 1}}, tags={}, datasets=[DATA]
            )
            trial = registry.tracking.log_trial(run, TRIAL, tmp_path, [DATA])
            artifacts = (tmp_path / "reference.jsonl", tmp_path / "curve.jsonl")
            candidate = Candidate(
                plain_adapter,
                True,
                {"passed": True},
                "# Card",
                artifacts,
                {"git": "abc"},
                {"loss": 2.0},
            )
            version = registry.register(run, key, candidate)
        assert (version.number, version.aliases) == (number, ("challenger",))
        assert registry.status().pending[0].metrics == {"loss": 2.0}
        registry.approve(number, "ann", comment="")
    with pytest.raises(Refused, match="champion already"):
        registry.approve(2, "bob")
    registry.rollback("bob", "<worse>")

    status = registry.status()
    assert (status.champion, status.previous, status.warnings) == (1, None, ())
    assert [decision.action for decision in registry.history()] == [
        "rollback",
        "approve",
        "approve",
    ]
    given = files.file_hashes(plain_adapter)
    assert files.file_hashes(registry.versions.adapter("models:/served.model@champion")) == given
    assert registry.versions.artifact(2, "reference.jsonl").read_text() == "{}\n"
    with registry._connection.client() as client:
        assert len(client.get_metric_history(trial, "curve/loss")) == 1500
        runs = client.search_runs([client.get_run(run).info.experiment_id])
        assert len(runs) == 4, "two rounds of one trial each, none twice"
    assert registry.links.version(2).startswith(f"{server}/#/models/served.model/versions/2?")

    script = (
        "import mlflow, sys\n"
        "model = mlflow.models.get_model_info('models:/served.model@champion')\n"
        "assert model.signature is not None\n"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"MLFLOW_TRACKING_URI": server},
        cwd=tmp_path,
        check=True,
    )


# Two state folders on one server, which share no lock


@pytest.fixture
def two(server: str, plain_adapter: Path, tmp_path: Path) -> tuple[Registry, Registry]:
    """Two machines that share a server: 1 and 2 were approved, 3 waits."""
    name = f"shared-{tmp_path.name}"[:100]
    made = []
    for who in ("one", "other"):
        project = {"name": name, "state_dir": str(tmp_path / who), "tracking_uri": server}
        made.append(Registry(Settings.model_validate({"project": project})))
    one, other = made
    for number in (1, 2, 3):
        key = f"k{number}"
        run = one.tracking.open_round(key, name=key, params={}, tags={}, datasets=[])
        one.register(run, key, Candidate(plain_adapter, True, {"passed": True}, f"card {number}"))
        if number < 3:
            other.approve(number, "Ann")
    return one, other


def shown(registry: Registry) -> dict[str, int]:
    """The aliases that MLflow shows to everybody."""
    with registry._connection.client() as client:
        found = client.get_registered_model(registry.name).aliases
    return {alias: int(number) for alias, number in sorted(found.items())}


@pytest.mark.slow
def test_ten_approvals_at_once_from_two_state_folders(two: tuple[Registry, Registry]) -> None:
    start, answers, done = threading.Barrier(11), [], threading.Event()
    seen: set[int] = set()

    def decide(number: int) -> None:
        registry = Registry(two[number % 2].versions._settings)
        start.wait()
        try:
            answers.append(registry.approve(1 + number % 3, f"person {number}"))
        except Refused as refused:
            answers.append(refused)

    def look() -> None:
        registry = Registry(two[0].versions._settings)
        start.wait()
        while not done.is_set():
            seen.add(shown(registry)["champion"])

    people = [threading.Thread(target=decide, args=(number,)) for number in range(10)]
    watcher = threading.Thread(target=look)
    for thread in (*people, watcher):
        thread.start()
    for thread in people:
        thread.join()
    done.set()
    watcher.join()

    assert len(answers) == 10
    decided = [answer for answer in answers if not isinstance(answer, Refused)]
    assert decided
    assert all(re.search("champion already|same time", str(a)) for a in answers if a not in decided)
    for registry in two:
        audit = registry.audit()
        assert audit.problems == ()
        assert len(audit.entries) == 5 + len(decided)
    status = two[0].status()
    assert shown(two[0]) == {
        name: getattr(status, name)
        for name in ("challenger", "champion", "previous")
        if getattr(status, name)
    }
    assert seen <= {1, 2, 3}


@pytest.mark.slow
def test_who_applies_late_does_not_undo_what_others_decided(
    two: tuple[Registry, Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One machine stops between writing its decision down and moving aliases; the other goes on."""
    one, other = two
    apply = shadow.apply

    def late(client: object, model: str, todo: list) -> None:
        monkeypatch.setattr(shadow, "apply", apply)
        other.rollback("Bob", "3 stutters")
        apply(client, model, todo)  # what the first has read before

    monkeypatch.setattr(shadow, "apply", late)
    one.approve(3, "Ann")
    assert [entry.action for entry in one.history()[:2]] == ["rollback", "approve"]
    assert shown(one) == {"champion": 2}
    assert one.audit().holds
    assert other.audit().holds


@pytest.mark.slow
def test_what_one_machine_began_the_other_completes_whatever_its_clock_says(
    two: tuple[Registry, Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shadow, "apply", die)
        with pytest.raises(KeyboardInterrupt):
            one.approve(3, "Ann")
    assert shown(one)["champion"] == 2
    assert other.status().champion == 3, "it was written down"
    assert "not applied in MLflow yet" in other.status().warnings[0]
    monkeypatch.setattr("tasks.registry.registry._now", lambda: "2001-01-01T00:00:00+00:00")
    other.rollback("Bob")
    assert shown(one) == {"champion": 2}
    for registry in two:
        assert registry.status().warnings == ()
        assert registry.history()[0].action == "rollback"
        assert registry.audit().holds


@pytest.mark.slow
def test_the_same_round_of_two_machines_is_one_version(
    two: tuple[Registry, Registry], plain_adapter: Path
) -> None:
    start, found = threading.Barrier(2), []

    def register(registry: Registry) -> None:
        run = registry.tracking.open_round("k9", name="k9", params={}, tags={}, datasets=[])
        start.wait()
        candidate = Candidate(plain_adapter, True, {"passed": True}, "card 9")
        found.append(registry.register(run, "k9", candidate).number)

    threads = [threading.Thread(target=register, args=(registry,)) for registry in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    rounds = [standing.registration.round for standing in two[0].versions.state().versions.values()]
    assert rounds.count("k9") == 1
    assert two[0].audit().holds


# Accounts


class Accounts(http.server.BaseHTTPRequestHandler):
    """As much of MLflow's server with accounts as says who somebody is."""

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        known = base64.b64encode(b"ada:secret").decode()
        if self.path == "/health":
            status, answer = 200, b"OK"
        elif given != f"Basic {known}":
            status, answer = 401, b"who are you?"
        else:
            status, answer = 200, b'{"user": {"id": 1, "username": "ada", "is_admin": false}}'
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def test_where_the_server_has_accounts_people_decide_under_their_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Accounts)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    project = {"state_dir": str(tmp_path), "tracking_uri": url}
    connection = Connection(Settings.model_validate({"project": project}))
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    try:
        with pytest.raises(Refused, match="does not know you"):
            check_identity(connection, "Ada")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
        with pytest.raises(Refused, match="does not know you"):
            check_identity(connection, "Ada")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
        with pytest.raises(Refused, match="knows you as ada"):
            check_identity(connection, "Eve")
        assert check_identity(connection, "Ada") == "authenticated"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_where_the_server_has_none_a_name_is_a_claim(two: tuple[Registry, Registry]) -> None:
    assert two[0].approve(3, "Eve").identity == "claimed"
    project = two[0].versions._settings.project
    strict = Settings(project=project, decisions={"authentication": "required"})
    with pytest.raises(Refused, match="authenticated"):
        Registry(strict).rollback("Eve")
