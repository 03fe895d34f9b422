"""Every way to the alias `champion` past a decision of people: seen, without effect, put right."""

import json
import resource
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perpetune.cli.main import main
from perpetune.platform.doctor import diagnose
from tasks.core.errors import BadInput, PerpetuneError, Refused
from tasks.decisions import Review
from tasks.model import base_source
from tasks.registry import Candidate, Registry
from tasks.registry.decision_log import ENTRY
from tasks.settings import Settings

NAME, LOG = "tiny.model", "tiny.model decisions"


@pytest.fixture(scope="module")
def prepared(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a project: 1 was champion, 2 is, 3 waits, 4 failed its gates."""
    import numpy as np
    from safetensors.numpy import save_file

    adapter = tmp_path_factory.mktemp("adapter")
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4}')
    save_file({"lora_A": np.ones((4, 8), np.float32)}, adapter / "adapter_model.safetensors")
    reference = adapter.parent / "reference.jsonl"
    reference.write_text('{"a": 1}\n')
    state = tmp_path_factory.mktemp("prepared") / "state"
    state.mkdir()
    shutil.copy(mlflow_database, state / "mlflow.db")
    registry = Registry(of(state))
    for number in (1, 2, 3, 4):
        key, passed = f"k{number}", number < 4
        run = registry.tracking.open_round(key, name=key, params={}, tags={}, datasets=[])
        verdict = {"passed": passed, "outcome": "passed" if passed else "failed"}
        candidate = Candidate(adapter, passed, verdict, f"card {number}", (reference,))
        registry.register(run, key, candidate)
        if number < 3:
            registry.approve(number, "Ann")
    return state


def of(state: Path) -> Settings:
    return Settings.model_validate({"project": {"name": NAME, "state_dir": str(state)}})


@pytest.fixture
def settings(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(prepared, tmp_path / "state")
    return of(tmp_path / "state")


@pytest.fixture
def registry(settings: Settings) -> Registry:
    registry = Registry(settings)
    registry.relocate()  # it is a copy of a project
    assert registry.audit().problems == ()
    return registry


def log_version(registry: Registry, number: int) -> str:
    with registry._connection.client() as client:
        for item in client.search_model_versions(f"name = '{LOG}'"):
            if item.tags["number"] == str(number):
                return str(item.version)
    raise AssertionError(number)


def move_champion(registry: Registry) -> None:
    with registry._connection.client() as client:
        client.set_registered_model_alias(NAME, "champion", "4")


def delete_alias(registry: Registry) -> None:
    with registry._connection.client() as client:
        client.delete_registered_model_alias(NAME, "champion")


def move_previous(registry: Registry) -> None:
    with registry._connection.client() as client:
        client.set_registered_model_alias(NAME, "previous", "4")


def edit_verdict(registry: Registry) -> None:
    with registry._connection.client() as client:
        client.set_model_version_tag(NAME, "4", "verdict", "passed")
        client.set_registered_model_alias(NAME, "challenger", "4")


def edit_decision(registry: Registry) -> None:
    with registry._connection.client() as client:
        client.set_model_version_tag(NAME, "4", "decision", "approved")
        client.set_model_version_tag(NAME, "4", "decided_by", "Ann")


def delete_last_decision(registry: Registry) -> None:
    with registry._connection.client() as client:
        last = len(registry.versions.state().entries)
        client.delete_model_version(LOG, log_version(registry, last))


def delete_a_decision(registry: Registry) -> None:
    with registry._connection.client() as client:
        client.delete_model_version(LOG, log_version(registry, 2))


def edit_a_decision(registry: Registry) -> None:
    with registry._connection.client() as client:
        version = log_version(registry, 6)  # the registration of 4
        text = client.get_model_version(LOG, version).tags[ENTRY]
        changed = text.replace('"outcome":"failed"', '"outcome":"passed"')
        assert changed != text
        client.set_model_version_tag(LOG, version, ENTRY, changed)


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (move_champion, "alias champion is at version 4; by the decision log it is version 2"),
        (delete_alias, "alias champion is at none; by the decision log it is version 2"),
        (move_previous, "alias previous is at version 4; by the decision log it is version 1"),
        (edit_verdict, "the tag verdict of version 4 says “passed” in MLflow"),
        (edit_decision, "the tag decision of version 4 says “approved” in MLflow"),
        (delete_last_decision, "lacks entry 6, which this machine has seen"),
        (delete_a_decision, "entry 2 is missing before entry 3"),
        (edit_a_decision, "was changed: it is not what its hash says"),
    ],
)
def test_what_is_changed_past_perpetune_is_seen_has_no_effect_and_is_put_right(
    registry: Registry, settings: Settings, tamper: Callable, says: str
) -> None:
    before = registry.status()
    tamper(registry)
    broken = tamper in (delete_last_decision, delete_a_decision, edit_a_decision)

    status = registry.status()
    assert any(says in warning for warning in status.warnings), status.warnings
    assert all("doctor --fix" in warning for warning in status.warnings)
    audit = registry.audit()
    assert not audit.holds
    assert not diagnose(settings).healthy
    if not broken:
        assert (status.champion, status.previous) == (before.champion, before.previous)
        assert registry.versions.champion().number == 2
    assert status.champion in (None, 1, 2), "nothing is promoted by it"
    with pytest.raises((Refused, BadInput)):
        registry.approve(4, "Eve")
    if broken:
        with pytest.raises(Refused, match="doctor --fix"):
            registry.approve(3, "Eve")

    found = diagnose(settings, fix=True)
    assert found.healthy
    assert next(check for check in found.checks if check.name == "decisions").done
    now = Registry(settings)
    assert now.status() == before
    assert now.audit().holds
    with now._connection.client() as client:
        assert client.get_registered_model(NAME).aliases["champion"] == 2


def test_a_log_that_was_moved_behind_our_back_cannot_launder_an_alias(registry: Registry) -> None:
    move_champion(registry)
    registry.approve(3, "Ann")
    status = registry.status()
    assert (status.champion, status.previous, status.warnings) == (3, 2, ())
    registry.rollback("Bob")
    assert registry.status().champion == 2


def test_a_deleted_champion_is_named_and_can_be_left(registry: Registry) -> None:
    with registry._connection.client() as client:
        client.delete_model_version(NAME, "2")
    status = registry.status()
    assert status.champion == 2
    (warning,) = status.warnings
    assert "version 2, the champion, was deleted in MLflow; `perpetune rollback" in warning
    assert not registry.audit().holds
    registry.rollback("Ann", "2 is gone")
    assert (registry.status().champion, registry.status().warnings) == (1, ())
    audit = registry.audit()
    assert audit.holds
    assert audit.notes == ("version 2 was deleted in MLflow",)
    with pytest.raises(Refused, match="deleted"):
        registry.approve(2, "Ann")


def test_a_deleted_challenger_cannot_be_approved(registry: Registry) -> None:
    with registry._connection.client() as client:
        client.delete_model_version(NAME, "3")
    assert "`perpetune reject 3 --by NAME`" in registry.status().warnings[0]
    with pytest.raises(Refused, match="deleted"):
        registry.approve(3, "Ann")
    registry.reject(3, "Ann")
    assert registry.audit().holds


def test_a_version_of_another_model_stays_out(registry: Registry, settings: Settings) -> None:
    with registry._connection.client() as client:
        registration = registry.versions.state().versions[4].registration
        model, run = registration.model_id, registration.run_id
        place = client.get_logged_model(model).artifact_location
        tags = {"verdict": "passed", "decision": "approved", "perpetune.model_id": model}
        made = client.create_model_version(NAME, place, run, model_id=model, tags=tags)
        client.set_registered_model_alias(NAME, "champion", made.version)
    assert "not in the decision log of tiny.model: version 5" in " ".join(
        registry.status().warnings
    )
    assert registry.status().champion == 2
    assert not registry.audit().holds
    with pytest.raises(BadInput, match="no version 5"):
        registry.approve(5, "Ann", override="it is mine")
    with pytest.raises(Refused, match="not in the decision log"):
        registry.versions.adapter(f"models:/{NAME}/5")
    assert diagnose(settings, fix=True).healthy
    with pytest.raises(Refused, match="as it was found"):
        Registry(settings).approve(5, "Ann")


def test_a_database_from_a_backup_is_brought_up_to_date(
    registry: Registry, settings: Settings
) -> None:
    database = settings.project.state_dir / "mlflow.db"
    backup = database.read_bytes()
    registry.approve(3, "Ann")
    registry.rollback("Bob")
    after = registry.status()
    database.write_bytes(backup)
    again = Registry(settings)
    assert "lacks entries 7, 8" in again.status().warnings[0]
    with pytest.raises(Refused, match="lacks entries 7, 8"):
        again.approve(3, "Eve")
    assert diagnose(settings, fix=True).healthy
    assert Registry(settings).status() == after


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("*/artifacts/artifacts/adapter/adapter_model.safetensors", "adapter_model.safetensors"),
        ("*/artifacts/MLmodel", "MLmodel"),
        ("*/artifacts/verdict.json", "verdict.json"),
        ("*/artifacts/reference.jsonl", "reference.jsonl"),
    ],
)
def test_changed_files_are_neither_approved_nor_loaded(
    registry: Registry, settings: Settings, pattern: str, says: str
) -> None:
    registration = registry.versions.state().versions[3].registration
    root = settings.project.state_dir / "mlartifacts"
    owners = (registration.model_id, registration.run_id)
    (path,) = (
        path
        for path in root.rglob(pattern.removeprefix("*/"))
        if any(owner in path.parts for owner in owners)
    )
    whole = path.read_bytes()
    registry.versions.adapter(f"models:/{NAME}/3")  # in the cache
    path.write_bytes(bytes(byte ^ 1 for byte in whole))
    with pytest.raises(
        Refused, match=f"version 3 is not what was registered: .*{says} was changed"
    ):
        registry.approve(3, "Ann")
    audit = registry.audit()
    assert says in audit.problems[0].what
    assert "perpetune reject 3" in audit.problems[0].remedy
    assert registry.status().champion == 2
    if says == "adapter_model.safetensors":
        shutil.rmtree(settings.project.state_dir / "versions")
        with pytest.raises(Refused, match=r"adapter_model\.safetensors was changed"):
            registry.versions.adapter(f"models:/{NAME}@challenger")
    if says == "reference.jsonl":
        with pytest.raises(Refused, match=r"reference\.jsonl was changed"):
            registry.versions.artifact(3, "reference.jsonl")
    path.unlink()
    with pytest.raises(Refused, match=f"{says} is missing"):
        registry.approve(3, "Ann")
    path.write_bytes(whole)
    assert registry.approve(3, "Ann").after.champion == 3


def test_a_candidate_of_a_base_that_was_changed_is_not_approved(
    registry: Registry, settings: Settings, plain_adapter: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    named = settings.replace(base={"model": str(base)})
    tags = {"base": base_source.identity(named)}
    params = {"base": {"model": str(base), "revision": None, "chat_template": None}}
    shutil.copytree(plain_adapter, tmp_path / "whole")
    (tmp_path / "whole" / "config.json").write_text("{}")
    run = registry.tracking.open_round("k5", name="k5", params=params, tags=tags, datasets=[])
    candidate = Candidate(tmp_path / "whole", True, {"passed": True}, "card 5", tags=tags)
    registry.register(run, "k5", candidate)
    (base / "config.json").write_text('{"changed": true}')
    with pytest.raises(Refused, match="base was changed"):
        registry.approve(5, "Ann")
    (base / "config.json").write_text("{}")
    assert registry.approve(5, "Ann").after.champion == 5


def test_a_version_that_leads_to_other_files_is_not_approved(
    registry: Registry, settings: Settings
) -> None:
    four = registry.versions.state().versions[4].registration.model_id
    with registry._connection.client() as client:
        elsewhere = client.get_logged_model(four).artifact_location
    with sqlite3.connect(settings.project.state_dir / "mlflow.db") as database:
        database.execute(
            "UPDATE model_versions SET source = ?, storage_location = ? "
            "WHERE version = 3 AND name = ?",
            (elsewhere, elsewhere, NAME),
        )
    database.close()
    with pytest.raises(Refused, match="MLflow leads to other files"):
        Registry(settings).approve(3, "Ann")
    assert "leads to other files" in Registry(settings).audit().problems[0].what


def test_what_was_changed_in_the_cache_is_fetched_again(registry: Registry) -> None:
    adapter = registry.versions.adapter(f"models:/{NAME}@champion")
    whole = (adapter / "adapter_model.safetensors").read_bytes()
    (adapter / "adapter_model.safetensors").write_bytes(b"changed")
    again = registry.versions.adapter(f"models:/{NAME}@champion")
    assert (again / "adapter_model.safetensors").read_bytes() == whole


def test_a_champion_that_was_changed_is_left_in_less_than_five_seconds(
    registry: Registry, settings: Settings
) -> None:
    model = registry.versions.state().versions[2].registration.model_id
    root = settings.project.state_dir / "mlartifacts"
    path = next(path for path in root.rglob("*.safetensors") if model in path.parts)
    path.write_bytes(b"changed")
    assert "`perpetune rollback --by NAME`" in registry.audit().problems[0].remedy
    start = time.perf_counter()
    registry.rollback("Ann")
    assert time.perf_counter() - start < 5
    assert registry.audit().holds
    with pytest.raises(Refused, match="not what was registered"):
        registry.approve(2, "Ann")


def test_an_override_is_shown_wherever_the_version_is(
    registry: Registry, settings: Settings
) -> None:
    with pytest.raises(Refused, match=r"did not pass its verdict.*--override REASON"):
        registry.approve(4, "Ann")
    registry.approve(4, "Ann", override="the old one insults [people](http://x)")
    (warning,) = registry.status().warnings
    assert "version 4 was made champion by Ann AGAINST ITS GATES (failed): the old one" in warning
    audit = registry.audit()
    assert audit.holds
    assert any("AGAINST ITS GATES" in note for note in audit.notes)
    with registry._connection.client() as client:
        version = client.get_model_version(NAME, "4")
    assert version.tags["override"].startswith("the old one")
    assert version.description.startswith("**Made champion against its gates (failed).**")
    assert "[people](" not in version.description
    with registry._connection.client() as client:
        client.update_model_version(NAME, "4", "nothing to see")
    assert "does not say that it was made champion" in registry.status().warnings[0]
    assert diagnose(settings, fix=True).healthy


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_reading_writes_nothing_and_takes_no_lock(registry: Registry, settings: Settings) -> None:
    shutil.rmtree(settings.project.state_dir / "locks")
    before = everything(settings.project.state_dir)
    reader = Registry(settings)
    reader.status()
    reader.history()
    reader.audit()
    reader.versions.champion()
    reader.versions.find("k1")
    diagnose(settings)
    assert everything(settings.project.state_dir) == before


def test_a_full_disk_leaves_the_registry_as_it_was(registry: Registry, settings: Settings) -> None:
    database = settings.project.state_dir / "mlflow.db"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    failed = None
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (database.stat().st_size, limits[1]))
        for _ in range(30):  # until the pages that are free in the database are used up
            before = Registry(settings).audit()
            try:
                Registry(settings).review(3, review_of("x" * 2000))
            except PerpetuneError as error:
                failed = error
                break
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert failed is not None
    now = Registry(settings)
    entries = now.versions.state().entries
    assert entries[: len(before.entries)] == before.entries
    assert len(entries) <= len(before.entries) + 1
    now.approve(3, "Ann")
    assert now.audit().problems == ()


def review_of(comment: str) -> Review:
    return Review(wins=1, ties=0, losses=0, by="Cem", at="now", marks="00", comment=comment)


def test_the_commands_say_what_the_registry_does(
    registry: Registry, settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(f"project: {{name: {NAME}, state_dir: '{settings.project.state_dir}'}}\n")

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*words, "--params", str(params), "--json"])
        return int(ended.value.code or 0), json.loads(capfd.readouterr().out)

    hostile = "Eve \x1b[31m[x](http://x)"
    code, answer = run("approve", "4", "--by", hostile)
    assert (code, answer["exit_code"]) == (3, 3)
    assert "--override REASON" in answer["error"]
    code, answer = run("approve", "4", "--by", hostile, "--override", "for the\x1b[0m demo")
    assert (code, answer["after"]["champion"], answer["identity"]) == (0, 4, "claimed")
    code, answer = run("rollback", "--to", "1", "--by", "Ann")
    assert (code, answer["after"]) == (0, {"champion": 1, "challenger": 3, "previous": None})
    code, answer = run("history")
    assert [entry["action"] for entry in answer["decisions"]][:2] == ["rollback", "approve"]
    assert answer["decisions"][1]["by"] == hostile, "the log has names as they are"
    code, answer = run("audit")
    assert (code, answer["holds"], len(answer["entries"])) == (0, True, 8)
    code, answer = run("status")
    assert answer["pending"][0]["missing"] == 1
    with registry._connection.client() as client:
        tags = client.get_model_version(NAME, "4").tags
        assert "\x1b" not in "".join(tags.values())
    move_champion(registry)
    code, answer = run("audit")
    assert (code, answer["holds"]) == (3, False)
    assert run("doctor")[0] == 1
    assert run("doctor", "--fix")[0] == 0
    with pytest.raises(SystemExit):
        main(["audit", "--params", str(params)])
    shown = capfd.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "U+001B" in shown.out


def test_what_was_shown_is_what_is_approved(registry: Registry) -> None:
    seen = registry.status().pending[0].digest
    marks = Review(wins=1, ties=2, losses=3, p_value=0.6, by="Cem", at="now", marks="00")
    registry.review(3, marks)
    with pytest.raises(Refused, match="not what you were shown"):
        registry.approve(3, "Ann", seen=seen)
    (pending,) = registry.status().pending
    assert pending.reviews == (marks,)
    assert registry.approve(3, "Ann", seen=pending.digest).after.champion == 3


def test_two_approvers_in_the_registry(settings: Settings) -> None:
    rules = settings.replace(decisions={"approvals": 2, "own_rounds": "refuse"})
    registry = Registry(rules)
    first = registry.approve(3, "Ann")
    assert (first.missing, first.after.champion) == (1, 2)
    (pending,) = registry.status().pending
    assert (pending.approvals, pending.missing) == (("Ann",), 1)
    assert registry.status().warnings == ()
    with pytest.raises(Refused, match="somebody else"):
        registry.approve(3, "ANN ")
    assert registry.approve(3, "Bob").after.champion == 3


def test_versions_from_before_the_log_are_named_and_entered_as_found(
    registry: Registry, settings: Settings
) -> None:
    """As a Perpetune without a log has left them: aliases, tags, and decisions as runs."""
    with registry._connection.client() as client:
        client.delete_registered_model(LOG)
        experiment = client.create_experiment(f"{NAME}/decisions")
        client.create_run(experiment, tags={"action": "approve", "version": "2"})
    shutil.rmtree(settings.project.state_dir / "decisions")
    old = Registry(settings)
    warnings = old.status().warnings
    assert (
        "not in the decision log of tiny.model: version 1, 2, 3, 4 (its 1 decisions" in warnings[0]
    )
    assert any("alias champion is at version 2 without a decision" in text for text in warnings)
    assert old.status().champion is None
    assert not old.audit().holds
    with pytest.raises(PerpetuneError):
        old.approve(2, "Ann")

    old.repair()
    with pytest.raises(Refused, match="entered into the log as it was found"):
        old.approve(2, "Ann")
    old.approve(2, "Ann", override="champion since before there was a log")
    assert old.versions.champion().number == 2
    assert old.versions.adapter(f"models:/{NAME}@champion").is_dir()
