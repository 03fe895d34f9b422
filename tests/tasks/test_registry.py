"""The registry on a real MLflow: rounds, trials, versions, decisions, and what it refuses."""

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError, Refused
from tasks.registry import Candidate, DatasetRef, Registry, Status, mlflow_values
from tasks.settings import Settings
from tasks.tune.sweep import Trial

TRAIN = DatasetRef("train", "artifacts/curated/train.jsonl", "0" * 32 + ".dir", "training")
TRIAL = Trial(
    number=3,
    params={"rank": 16, "learning_rate": 1e-3},
    state="complete",
    steps=20,
    validation_loss=2.5,
    seconds=3.5,
    tokens=1000,
)


@pytest.fixture
def registry(new_project: Callable[..., Settings]) -> Registry:
    return Registry(new_project())


@pytest.fixture
def add(plain_adapter: Path, tmp_path: Path) -> Callable[..., int]:
    """Register one more candidate: `add(registry, passed=False)` gives its version number."""

    def register(registry: Registry, *, passed: bool = True) -> int:
        key = f"round-{len(registry.versions.recorded()) + 1}"
        run = registry.tracking.open_round(key, name=key, params={}, tags={}, datasets=[TRAIN])
        return registry.register(
            run, key, Candidate(plain_adapter, passed, {"passed": passed}, "A *card*.")
        ).number

    return register


def runs(registry: Registry, where: str = "") -> list:
    with registry._connection.client() as client:
        experiment = client.get_experiment_by_name(registry.name)
        return list(client.search_runs([experiment.experiment_id], where))


def aliases(registry: Registry) -> dict:
    status = registry.status()
    return {name: getattr(status, name) for name in ("champion", "challenger", "previous")}


# Rounds and trials


def test_the_same_key_gives_the_same_round(registry: Registry) -> None:
    given = {"name": "round", "tags": {"git": "abc"}, "datasets": [TRAIN]}
    params = {
        "tune": {"method": {"rank": 8}, "source_weights": {"data/feedback": 0.5}},
        "seed": 0,
        "none": None,
    }
    first = registry.tracking.open_round("k", params=params, **given)
    again = registry.tracking.open_round("k", params=params, **given)
    other = registry.tracking.open_round("k2", params=params, **given)

    assert first == again != other
    (run,) = runs(registry, "tags.`perpetune.round` = 'k'")
    assert run.info.status == "RUNNING"
    assert run.data.params == {
        "tune.method.rank": "8",
        "tune.source_weights.data/feedback": "0.5",
        "seed": "0",
        "none": "null",
    }
    assert run.data.tags["git"] == "abc"
    (seen,) = run.inputs.dataset_inputs
    assert (seen.dataset.name, seen.dataset.digest) == ("train", TRAIN.digest)
    assert {tag.key: tag.value for tag in seen.tags} == {"mlflow.data.context": "training"}


def test_a_failed_round_is_reopened_and_a_finished_one_is_not(registry: Registry) -> None:
    given = {"name": "round", "params": {}, "tags": {}, "datasets": []}
    run = registry.tracking.open_round("k", **given)
    registry.tracking.close_round(run, metrics={}, status="FAILED")
    assert registry.tracking.open_round("k", **given) == run
    assert runs(registry)[0].info.status == "RUNNING"

    registry.tracking.close_round(
        run, metrics={"loss": {"heldout": 2.0}, "note": "text", "nan": float("nan")}
    )
    assert registry.tracking.open_round("k", **given) == run
    (closed,) = runs(registry)
    assert closed.info.status == "FINISHED"
    assert closed.data.metrics == {"loss.heldout": 2.0}


def test_a_trial_is_a_child_run_with_its_curve(registry: Registry, tmp_path: Path) -> None:
    parent = registry.tracking.open_round("k", name="round", params={}, tags={}, datasets=[])
    lines = [{"step": step, "loss": 5 - step / 10, "validation_loss": None} for step in range(20)]
    files.write_jsonl(tmp_path / "curve.jsonl", [*lines, {"step": 20, "validation_loss": 2.75}])

    unused = TRIAL.params | {"alpha": None}  # by the trial's method
    trial = TRIAL.model_copy(update={"params": unused})
    run_id = registry.tracking.log_trial(parent, trial, tmp_path, [TRAIN])

    (run,) = runs(registry, "tags.`perpetune.trial` = '3'")
    assert run.info.run_id == run_id
    assert run.info.run_name == "trial 3 · rank 16 · lr 0.001"
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["state"] == "complete"
    assert run.data.params == {"rank": "16", "learning_rate": "0.001"}
    assert run.data.metrics["validation_loss"] == 2.5
    assert run.data.metrics["curve/validation_loss"] == 2.75
    assert run.inputs.dataset_inputs[0].dataset.digest == TRAIN.digest
    with registry._connection.client() as client:
        history = client.get_metric_history(run_id, "curve/loss")
        assert [(point.step, point.value) for point in history] == [
            (line["step"], line["loss"]) for line in lines
        ]
        assert [entry.path for entry in client.list_artifacts(run_id)] == ["curve.jsonl"]


def test_a_long_curve_and_many_params_are_logged_in_portions(
    registry: Registry, tmp_path: Path
) -> None:
    many = {f"p{number}": number for number in range(250)}
    parent = registry.tracking.open_round("k", name="round", params=many, tags={}, datasets=[])
    files.write_jsonl(tmp_path / "curve.jsonl", ({"step": s, "loss": s} for s in range(2500)))
    run_id = registry.tracking.log_trial(parent, TRIAL, tmp_path, [])
    with registry._connection.client() as client:
        assert len(client.get_metric_history(run_id, "curve/loss")) == 2500
        assert len(client.get_run(parent).data.params) == 250


def test_a_trial_is_logged_once_and_a_half_logged_one_is_replaced(
    registry: Registry, tmp_path: Path
) -> None:
    parent = registry.tracking.open_round("k", name="round", params={}, tags={}, datasets=[])
    first = registry.tracking.log_trial(parent, TRIAL, tmp_path, [])
    assert registry.tracking.log_trial(parent, TRIAL, tmp_path, []) == first

    with registry._connection.client() as client:
        client.update_run(first, "RUNNING")  # as a crash before the end would leave it
    second = registry.tracking.log_trial(parent, TRIAL, tmp_path, [])
    assert second != first
    assert [run.info.run_id for run in runs(registry, "tags.`perpetune.trial` = '3'")] == [second]


@pytest.mark.parametrize(("state", "status"), [("pruned", "FINISHED"), ("failed", "FAILED")])
def test_a_trial_that_ended_early_says_so(
    registry: Registry, tmp_path: Path, state: str, status: str
) -> None:
    parent = registry.tracking.open_round("k", name="round", params={}, tags={}, datasets=[])
    trial = TRIAL.model_copy(update={"state": state, "validation_loss": None})
    run_id = registry.tracking.log_trial(parent, trial, tmp_path, [])
    assert registry.tracking.log_trial(parent, trial, tmp_path, []) == run_id
    (run,) = runs(registry, "tags.`perpetune.trial` = '3'")
    assert (run.data.tags["state"], run.info.status) == (state, status)
    assert "validation_loss" not in run.data.metrics


def test_a_cut_off_curve_is_read_as_far_as_it_goes(registry: Registry, tmp_path: Path) -> None:
    parent = registry.tracking.open_round("k", name="round", params={}, tags={}, datasets=[])
    (tmp_path / "curve.jsonl").write_text('{"step": 1, "loss": 4.0}\n{"step": 2, "lo')
    run_id = registry.tracking.log_trial(parent, TRIAL, tmp_path, [])
    with registry._connection.client() as client:
        assert client.get_run(run_id).data.metrics["curve/loss"] == 4.0


def test_a_digest_that_mlflow_would_not_keep_is_refused(registry: Registry) -> None:
    dataset = DatasetRef("train", "x", "0" * 37, "training")
    with pytest.raises(BadInput, match="36"):
        registry.tracking.open_round("k", name="r", params={}, tags={}, datasets=[dataset])


@pytest.mark.parametrize("key", ["", "it's", "a b", "x" * 101])
def test_a_key_that_could_break_a_query_is_refused(registry: Registry, key: str) -> None:
    with pytest.raises(BadInput, match="key"):
        registry.versions.find(key)


# Versions


def test_a_passed_version_becomes_the_challenger(
    registry: Registry, plain_adapter: Path, tmp_path: Path
) -> None:
    reference = tmp_path / "reference.jsonl"
    reference.write_text('{"a": 1}\n')
    sheet = tmp_path / "review"
    sheet.mkdir()
    (sheet / "sheet.md").write_text("look")
    run = registry.tracking.open_round("k", name="round", params={}, tags={}, datasets=[])
    assert registry.versions.find("k") is None
    card = "# Card\n" + "long " * 2000
    verdict = {"passed": True, "gates": [{"name": "better", "p": 0.01}]}
    tags = {"git": "abc", "note": "<script>", "verdict": "mine"}
    version = registry.register(
        run, "k", Candidate(plain_adapter, True, verdict, card, (reference, sheet), tags)
    )

    assert (version.number, version.round, version.run_id) == (1, "k", run)
    assert version.aliases == ("challenger",)
    assert version.tags["git"] == "abc"
    assert version.tags["note"] == "<script>"
    assert version.verdict == "passed"
    assert version.tags["verdict"] == "passed"
    assert registry.versions.find("k") == version
    with registry._connection.client() as client:
        described = client.get_model_version(registry.name, "1").description
        assert described.startswith("**This version passed every gate.**")
        assert len(described) <= 5000
        assert "card.md" in described
        assert "champion" in client.get_registered_model(registry.name).description
        (output,) = client.get_run(run).outputs.model_outputs
        assert output.model_id == version.model_id
    assert registry.versions.artifact(1, "card.md").read_text() == card
    assert json.loads(registry.versions.artifact(1, "verdict.json").read_text()) == verdict
    assert registry.versions.artifact(1, "reference.jsonl").read_text() == '{"a": 1}\n'
    assert registry.versions.artifact(1, "review/sheet.md").read_text() == "look"
    assert registry.versions.artifact(1, "review").is_dir()
    with pytest.raises(BadInput, match=r"nothing\.txt.*reference\.jsonl"):
        registry.versions.artifact(1, "nothing.txt")


def test_status_tells_what_waits(registry: Registry, add: Callable[..., int]) -> None:
    add(registry)
    (run,) = runs(registry)
    registry.tracking.close_round(run.info.run_id, metrics={"loss": 2.0})
    status = registry.status()
    (pending,) = status.pending
    assert Status.from_json(json.loads(json.dumps(status.to_json()))) == status
    assert (pending.version, pending.verdict, pending.round) == (1, "passed", "round-1")
    assert pending.metrics == {"loss": 2.0}
    assert status.challenger == 1
    assert status.champion is status.previous is None
    assert status.warnings == ()


def test_a_failed_version_is_registered_without_alias(
    registry: Registry, add: Callable[..., int]
) -> None:
    assert add(registry, passed=False) == 1
    assert aliases(registry) == {"champion": None, "challenger": None, "previous": None}
    assert registry.status().pending == ()
    with pytest.raises(Refused, match="did not pass"):
        registry.approve(1, "ann")
    with pytest.raises(Refused, match="not pending"):
        registry.reject(1, "ann")
    assert registry.history() == []


@pytest.mark.parametrize("passed", ["yes", 1, None, [True]])
def test_only_true_is_a_pass(registry: Registry, plain_adapter: Path, passed: object) -> None:
    run = registry.tracking.open_round("k", name="round", params={}, tags={}, datasets=[])
    version = registry.register(
        run, "k", Candidate(plain_adapter, passed, {"passed": passed}, "card")
    )
    assert version.verdict == "failed"


def test_registering_again_gives_the_same_version(registry: Registry, plain_adapter: Path) -> None:
    run = registry.tracking.open_round("k", name="round", params={}, tags={}, datasets=[])
    first = registry.register(run, "k", Candidate(plain_adapter, True, {"passed": True}, "card"))
    registry.reject(first.number, "ann")
    again = registry.register(run, "k", Candidate(plain_adapter, True, {"passed": True}, "card"))
    assert again.number == first.number == 1
    assert again.aliases == (), "what was decided stays decided"


def test_a_later_candidate_supersedes_an_undecided_one(
    registry: Registry, add: Callable[..., int]
) -> None:
    add(registry)
    add(registry)
    assert aliases(registry)["challenger"] == 2
    with pytest.raises(Refused, match="superseded"):
        registry.approve(1, "ann")
    add(registry, passed=False)
    assert aliases(registry)["challenger"] == 2, "one that failed does not supersede"


def test_what_is_no_adapter_is_not_registered(registry: Registry, tmp_path: Path) -> None:
    run = registry.tracking.open_round("k", name="round", params={}, tags={}, datasets=[])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadInput, match=r"adapter_config\.json"):
        registry.register(run, "k", Candidate(empty, True, {"passed": True}, "card"))
    assert registry.versions.find("k") is None
    with pytest.raises(BadInput, match=r"gone\.jsonl"):
        registry.register(
            run, "k", Candidate(empty, True, {"passed": True}, "card", (tmp_path / "gone.jsonl",))
        )


def test_the_adapter_comes_back_byte_for_byte(
    registry: Registry, add: Callable[..., int], plain_adapter: Path, tmp_path: Path
) -> None:
    add(registry)
    given = files.file_hashes(plain_adapter)
    assert files.file_hashes(registry.versions.adapter("models:/tiny.model@challenger")) == given
    into = tmp_path / "new" / "adapter"
    assert registry.versions.adapter("models:/tiny.model/1", into) == into
    assert files.file_hashes(into) == given
    with pytest.raises(BadInput, match="exists already"):
        registry.versions.adapter("models:/tiny.model/1", into)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("models:/tiny.model@champion", r"challenger = 1"),
        ("models:/tiny.model/2", r"latest are 1"),
        ("models:/other@champion", "nothing is registered"),
        ("tiny.model@champion", "expected models:/"),
        ("models:/tiny.model", "expected models:/"),
    ],
)
def test_an_unknown_reference_says_what_exists(
    registry: Registry, add: Callable[..., int], reference: str, says: str
) -> None:
    add(registry)
    with pytest.raises(BadInput, match=says):
        registry.versions.adapter(reference)


def test_versions_of_others_are_seen_but_hold_no_adapter(registry: Registry) -> None:
    with registry._connection.client() as client:
        client.create_registered_model(registry.name)
        client.create_model_version(registry.name, "/nowhere")
    with pytest.raises(BadInput, match="no version 1"):
        registry.approve(1, "ann")
    with pytest.raises(Refused, match="not in the decision log"):
        registry.versions.adapter("models:/tiny.model/1")


# Decisions


def test_approve_reject_and_rollback_move_the_aliases(
    registry: Registry, add: Callable[..., int]
) -> None:
    add(registry)
    registry.approve(1, "ann", "first")
    assert aliases(registry) == {"champion": 1, "challenger": None, "previous": None}
    champion = registry.versions.champion()
    assert champion is not None
    assert champion.number == 1

    add(registry)
    registry.reject(2, "bob", "worse on numbers")
    assert aliases(registry) == {"champion": 1, "challenger": None, "previous": None}

    add(registry)
    registry.approve(3, "ann")
    assert aliases(registry) == {"champion": 3, "challenger": None, "previous": 1}

    registry.rollback("eve", "it stutters")
    assert aliases(registry) == {"champion": 1, "challenger": None, "previous": None}

    told = [(d.action, d.version, d.by, d.comment) for d in registry.history()]
    assert told == [
        ("rollback", 1, "eve", "it stutters"),
        ("approve", 3, "ann", ""),
        ("reject", 2, "bob", "worse on numbers"),
        ("approve", 1, "ann", "first"),
    ]
    for later, earlier in pairwise(registry.history()):
        assert later.number > earlier.number
        assert later.before.champion == earlier.after.champion
    recorded = registry.versions.recorded()
    decided = {n: recorded[n] for n in (1, 2, 3)}
    assert [decided[n].tags["decision"] for n in (1, 2, 3)] == [
        "approved",
        "rejected",
        "rolled_back",
    ]
    assert decided[2].tags["decided_by"] == "bob"
    assert decided[2].tags["comment"] == "worse on numbers"
    assert decided[3].tags["decided_at"] == registry.history()[0].at
    assert registry.audit().holds
    assert registry.history()[0].to_json()["after"]["champion"] == 1


def test_a_rollback_typed_twice_does_not_bring_the_bad_version_back(
    registry: Registry, add: Callable[..., int]
) -> None:
    for number in (1, 2, 3):
        add(registry)
        registry.approve(number, "ann")
    registry.rollback("bob")
    with pytest.raises(
        Refused, match=r"bob rolled back to version 2 .* goes back to: 1; .* again: 3"
    ):
        registry.rollback("eve")
    assert aliases(registry)["champion"] == 2


def test_what_a_person_approved_once_can_be_approved_again(
    registry: Registry, add: Callable[..., int]
) -> None:
    for number in (1, 2, 3):
        add(registry)
        registry.approve(number, "ann")
    registry.rollback("bob")
    add(registry)
    registry.approve(1, "bob", "2 is as bad")
    assert aliases(registry) == {"champion": 1, "challenger": 4, "previous": 2}
    registry.approve(3, "bob", "3 was right after all")
    assert aliases(registry) == {"champion": 3, "challenger": 4, "previous": 1}


def test_what_is_refused_changes_nothing(registry: Registry, add: Callable[..., int]) -> None:
    with pytest.raises(BadInput, match="nothing is registered"):
        registry.approve(1, "ann")
    add(registry)
    registry.approve(1, "ann")
    before = (registry.status(), registry.history())
    with pytest.raises(Refused, match="champion already"):
        registry.approve(1, "bob")
    with pytest.raises(Refused, match="approved by ann"):
        registry.reject(1, "bob")
    with pytest.raises(Refused, match="no previous"):
        registry.rollback("bob")
    with pytest.raises(BadInput, match="no version 9; the latest are 1"):
        registry.reject(9, "bob")
    assert (registry.status(), registry.history()) == before


@pytest.mark.parametrize("by", ["", "  ", "x" * 201, "nul\0", "half \ud800"])
def test_a_decision_needs_a_person(registry: Registry, add: Callable[..., int], by: str) -> None:
    add(registry)
    for decide in (
        lambda: registry.approve(1, by),
        lambda: registry.reject(1, by),
        lambda: registry.rollback(by),
    ):
        with pytest.raises(BadInput, match="--by"):
            decide()
    assert aliases(registry)["challenger"] == 1


def test_names_and_comments_are_kept_as_they_are(
    registry: Registry, add: Callable[..., int]
) -> None:
    add(registry)
    by, comment = "Zoë <b>O'Neil</b> `x`", '"; DROP TABLE runs; --\n# 判断 🙂'
    registry.approve(1, by, comment)
    (decision,) = registry.history()
    assert (decision.by, decision.comment) == (by, comment)
    with pytest.raises(BadInput, match="--comment: 2001 characters"):
        registry.approve(1, by, "x" * 2001)


def test_an_alias_that_was_moved_past_us_is_reported(
    registry: Registry, add: Callable[..., int]
) -> None:
    add(registry)
    registry.approve(1, "ann")
    add(registry)
    with registry._connection.client() as client:
        client.set_registered_model_alias(registry.name, "champion", "2")
    (warning,) = registry.status().warnings
    assert "alias champion is at version 2; by the decision log it is version 1" in warning
    assert registry.status().champion == 1
    assert not registry.audit().holds


# Where MLflow is


def test_nothing_is_created_to_say_that_nothing_is_there(tmp_path: Path) -> None:
    project = {"name": "new", "state_dir": str(tmp_path / "state")}
    registry = Registry(Settings.model_validate({"project": project}))
    assert registry.status().to_json() == {
        "model": "new",
        "champion": None,
        "challenger": None,
        "previous": None,
        "pending": [],
        "warnings": [],
    }
    assert not (tmp_path / "state").exists()


def test_a_server_that_does_not_answer_is_reported_at_once(tmp_path: Path) -> None:
    project = {
        "state_dir": str(tmp_path),
        "tracking_uri": "http://me:secret@127.0.0.1:9",
    }
    registry = Registry(Settings.model_validate({"project": project}))
    with pytest.raises(PerpetuneError, match="does not answer; start it") as caught:
        registry.status()
    assert "secret" not in str(caught.value)
    assert "secret" in registry.tracking_uri


def test_a_damaged_database_is_reported_in_one_line(registry: Registry) -> None:
    (registry.versions._settings.project.state_dir / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(PerpetuneError, match=r"mlflow\.db: .*not a database") as caught:
        registry.status()
    assert "\n" not in str(caught.value)


def test_the_tracking_uri_of_the_settings_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from-environment")
    project = {"state_dir": str(tmp_path)}
    assert Registry(Settings.model_validate({"project": project})).redacted_uri == (
        "http://from-environment"
    )
    project["tracking_uri"] = "http://from-settings"
    assert Registry(Settings.model_validate({"project": project})).redacted_uri == (
        "http://from-settings"
    )


def test_links_open_the_training_view(registry: Registry, add: Callable[..., int]) -> None:
    add(registry)
    assert registry.links.version(1) == (
        "http://127.0.0.1:5000/#/models/tiny.model/versions/1?workflowType=machine_learning"
    )
    (run,) = runs(registry)
    assert registry.links.run(run.info.run_id).endswith(
        f"/runs/{run.info.run_id}?workflowType=machine_learning"
    )


def test_global_state_and_the_working_folder_stay_as_they_were(
    new_project: Callable[..., Settings], plain_adapter: Path, tmp_path: Path
) -> None:
    # In a process of its own: whatever touched MLflow's global store would leave mlflow.db here.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, pathlib\n"
        "from tasks.registry import Candidate, Registry\n"
        "from tasks.settings import Settings\n"
        "assert 'mlflow' not in sys.modules, 'importing the package must stay cheap'\n"
        "registry = Registry(Settings.model_validate_json(sys.argv[1]))\n"
        "run = registry.tracking.open_round('k', name='r', params={}, tags={}, datasets=[])\n"
        "adapter = pathlib.Path(sys.argv[2])\n"
        "assert 'torch' not in sys.modules\n"
        "registry.register(run, 'k', Candidate(adapter, True, {'passed': True}, 'card'))\n"
        "registry.tracking.close_round(run, metrics={})\n"
        "registry.approve(1, 'ann')\n"
        "registry.versions.adapter('models:/tiny.model@champion')\n"
        "registry.versions.artifact(1, 'card.md')\n"
        "registry.status()\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), new_project().model_dump_json(), str(plain_adapter)],
        cwd=elsewhere,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert list(elsewhere.iterdir()) == []


ODD_NAMES = ["Q&A", "C++", "held (v2)", "a:b", ":26:", "..", "x//y", "a\nb", "\x1b[31m", "ü", "%s?"]


def test_benchmarks_of_any_name_have_their_metrics_and_parameters(registry: Registry) -> None:
    figures = {f"{name}.loss": float(number) for number, name in enumerate(ODD_NAMES)}
    mix = {f"data/{name}": 0.1 for name in ODD_NAMES}
    params = {"tune": {"source_weights": mix}}
    run = registry.tracking.open_round(
        "round-1", name="round", params=params, tags={}, datasets=[TRAIN]
    )
    registry.tracking.close_round(run, metrics=figures)
    (found,) = runs(registry)
    assert {
        mlflow_values.unquoted(name): value for name, value in found.data.metrics.items()
    } == figures
    assert {mlflow_values.unquoted(name) for name in found.data.params} == {
        f"tune.source_weights.{name}" for name in mix
    }


@given(st.text(max_size=400), st.text(max_size=400))
def test_quoted_names_are_allowed_reversible_and_never_equal(one: str, other: str) -> None:
    from mlflow.utils.validation import _validate_metric

    for name in (one, other):
        quoted = mlflow_values.quoted(f"{name}.loss")
        _validate_metric(quoted, 1.0, 0, 0)
        if "::" not in quoted:  # not shortened
            assert mlflow_values.unquoted(quoted) == f"{name}.loss"
    assert (mlflow_values.quoted(one) == mlflow_values.quoted(other)) == (one == other)


class Meanwhile:
    """A client before whose first run somebody else does something."""

    def __init__(self, client: Any, act: Callable[[], Any]) -> None:
        self._client, self._act = client, act

    def __getattr__(self, name: str) -> Any:
        if name == "create_run" and self._act is not None:
            act, self._act = self._act, None
            act()
        return getattr(self._client, name)


def test_a_round_that_two_machines_begin_at_once_is_one(tmp_path: Path) -> None:
    """Each has a state folder of its own, so that no lock is between them."""
    shared = f"sqlite:///{tmp_path}/shared.db"

    def registry(name: str) -> Registry:
        project = {"name": "m", "state_dir": str(tmp_path / name), "tracking_uri": shared}
        return Registry(Settings.model_validate({"project": project}))

    def begin(machine: Registry) -> str:
        return machine.tracking.open_round("a1", name="round a1", params={}, tags={}, datasets=[])

    here, there = registry("here"), registry("there")
    others: list[str] = []
    connect = here._connection._connect
    here._connection._connect = lambda: Meanwhile(connect(), lambda: others.append(begin(there)))
    assert begin(here) == others[0] == begin(here) == begin(there)
    with there._connection.client() as client:
        experiment = client.get_experiment_by_name("m")
        assert experiment is not None
        assert [run.info.run_id for run in client.search_runs([experiment.experiment_id])] == others
