"""Every way to the alias `champion` past a decision of people: seen, without effect, put right."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from perpetune.platform.doctor import diagnose
from tasks.core.errors import BadInput, PerpetuneError, Refused
from tasks.decisions import Review
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
    assert found.checks[0].done
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
