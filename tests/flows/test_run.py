"""The main job, end to end: real DVC, Prefect (embedded), Optuna, MLflow and a tiny real model."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.core import files
from tests.project import ProjectFolder


def client(project: ProjectFolder) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project.path}/.perpetune/mlflow.db")


def rounds_and_trials(project: ProjectFolder) -> tuple[list, list]:
    """Parent runs and their child runs."""
    store = client(project)
    experiment = store.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = store.search_runs([experiment.experiment_id], max_results=1000)
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    return [run for run in runs if run not in children], children


def git_status(project: ProjectFolder) -> set[str]:
    return set(project.run("git", "status", "--porcelain").stdout.splitlines())


@pytest.fixture(scope="module")
def ran(project: ProjectFolder) -> dict:
    """What the first `perpetune run` in the project printed; its dvc.lock is out of date."""
    (project.path / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    project.run("git", "add", "dvc.lock")
    project.run("git", "commit", "-qm", "An older lock file")
    return project.perpetune("run")


def test_a_candidate_waits_for_a_person(project: ProjectFolder, ran: dict) -> None:
    assert ran["new"] is True
    assert ran["version"] == 1
    assert ran["verdict"]["passed"] is True, ran["verdict"]["gates"]
    status = project.perpetune("status")
    assert status["model"] == "tiny"
    assert (status["champion"], status["challenger"], status["previous"]) == (None, 1, None)
    assert [item["version"] for item in status["pending"]] == [1]


def test_every_record_is_kept_or_dropped(ran: dict) -> None:
    data = ran["data"]
    assert data["in"] == 240
    assert data["in"] == sum(data["kept"].values()) + sum(data["dropped"].values())


def test_the_files_that_appear(project: ProjectFolder, ran: dict) -> None:
    folder = project.path / ran["folder"]
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {
        "reference.jsonl",
        "sweep/sweep.json",
        "sweep/best/adapter_config.json",
        "sweep/best/adapter_model.safetensors",
        "sweep/curves.png",
        "sweep/heatmap.png",
        "evaluate/verdict.json",
        "evaluate/review.html",
        "evaluate/review.md",
        "evaluate/metrics.png",
    } <= names
    assert not [name for name in names if name.endswith(".partial")]
    curated = {path.name for path in (project.path / "artifacts/curated").iterdir()}
    assert curated == {
        *("train.jsonl", "validation.jsonl", "test.jsonl", "dropped.jsonl"),
        *("report.json", "report.html", "data_card.md"),
    } | ({".gitignore"} & curated)


def test_mlflow_shows_the_round_and_each_trial_once(project: ProjectFolder, ran: dict) -> None:
    rounds, trials = rounds_and_trials(project)
    assert len(rounds) == 1
    assert rounds[0].info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {rounds[0].info.run_id}
    assert len(trials) == len(ran["sweep"]["trials"]) == 4
    configurations = {(run.data.params["rank"], run.data.params["learning_rate"]) for run in trials}
    assert configurations == {(r, rate) for r in ("2", "8") for rate in ("0.003", "0.03")}
    for run in trials:
        inputs = {item.dataset.name: item.dataset.digest for item in run.inputs.dataset_inputs}
        assert inputs["curated-train"] == files.md5(project.path / "artifacts/curated/train.jsonl")
        assert client(project).get_metric_history(run.info.run_id, "curve/train_loss")


def test_the_version_says_where_it_comes_from(project: ProjectFolder, ran: dict) -> None:
    version = client(project).get_model_version("tiny", "1")
    commit = project.run("git", "rev-parse", "HEAD").stdout.strip()
    assert version.tags["git_commit"] == commit
    # `dvc repro` has rewritten its lock file, which has a hash of its own.
    assert " M dvc.lock" in project.run("git", "status", "--porcelain").stdout
    assert version.tags["git_dirty"] == "false"
    assert version.tags["dvc_lock_sha256"] == files.sha256(project.path / "dvc.lock")
    assert version.tags["seed"] == "0"
    assert version.tags["prefect_flow_run"] != "none"
    weights = project.path / ran["folder"] / "sweep/best/adapter_model.safetensors"
    assert version.tags["sha256.adapter_model.safetensors"] == files.sha256(weights)
    assert version.tags["data_version"] == ran["data"]["version"]
    assert version.tags["data_version"].endswith(".dir")
    assert version.tags["verdict"] == "passed"
    assert version.tags["params_hash"]
    assert "loss (nats a token" in version.description
    assert "review sheet](#/experiments/" in version.description


def test_a_version_has_all_its_evidence(project: ProjectFolder, ran: dict) -> None:
    store = client(project)
    run = store.get_model_version("tiny", "1").run_id
    kept = {entry.path for entry in store.list_artifacts(run)}
    assert {
        *("card.md", "verdict.json", "evaluate", "reference.jsonl", "params.json", "sbom.json"),
        *("dvc.lock", "sweep.json", "data_card.md", "report.html", "dropped.jsonl", "curves.png"),
    } <= kept
    assert (
        store.get_run(run).data.metrics["validation_loss"]
        == (ran["sweep"]["best"]["validation_loss"])
    )


def test_a_version_is_made_again_bit_for_bit(project: ProjectFolder, ran: dict) -> None:
    before = git_status(project)
    found = project.perpetune("reproduce", "1", "--out", "again")
    assert found["identical"] is True, found
    assert found["same_conditions"] is True, found["environment"]
    assert found["how"] == "trial"
    assert [(item["name"], item["how"]) for item in found["data"][1:]] == [
        ("data", "from DVC's cache"),
        ("train.jsonl", "curated again"),
        ("validation.jsonl", "curated again"),
    ]
    best = ran["sweep"]["best"]["number"]
    trial = files.sha256s(project.path / ran["folder"] / f"sweep/trials/{best}/best")
    assert {item["name"]: item["registered"] for item in found["adapter"]} == trial
    assert files.sha256s(project.path / "again/adapter") == trial
    assert "Identical" in (project.path / "again/reproduction.md").read_text()
    assert len(project.run("git", "worktree", "list").stdout.splitlines()) == 1
    assert git_status(project) - before == {"?? again/"}
    shutil.rmtree(project.path / "again")


def test_a_copy_decides_for_itself(project: ProjectFolder, ran: dict, tmp_path: Path) -> None:
    del ran
    before = files.file_hashes(project.path)
    copy = ProjectFolder(tmp_path / "a copy", tmp_path / "prefect")
    shutil.copytree(project.path, copy.path, symlinks=True)
    assert copy.perpetune("approve", "1", "--by", "Ada")["action"] == "approve"
    moved = ProjectFolder(copy.path.rename(tmp_path / "where it is now"), tmp_path / "prefect")
    assert moved.perpetune("status")["champion"] == 1
    moved.perpetune("evaluate", "models:/tiny@champion", "--data", "data/benchmarks/held.jsonl")
    assert files.file_hashes(project.path) == before
    assert project.perpetune("status")["champion"] is None


CLEAN = """
from pathlib import Path
from flows.cache_cleaning import clean_cache
from flows.housekeeping import trials_step
from tasks.settings import load_settings
settings = load_settings(Path("params.yaml"), ["housekeeping.keep_trials_days=0"])
print(clean_cache(settings))
print(trials_step.fn(settings))
"""


def test_housekeeping_deletes_only_what_nobody_needs(
    project: ProjectFolder, ran: dict, tmp_path: Path
) -> None:
    copy = ProjectFolder(tmp_path / "a copy", tmp_path / "prefect")
    shutil.copytree(project.path, copy.path, symlinks=True)

    def cached(digest: str) -> bool:
        return (copy.path / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).is_file()

    def weights() -> list[Path]:
        return list((copy.path / ran["folder"] / "sweep/trials").glob("*/best"))

    # No commit names the data of version 1 any more, and nobody names the other file.
    data = copy.path / "data/train/docs.jsonl"
    first = files.md5(data)
    data.write_text("".join(data.read_text().splitlines(keepends=True)[1:]))
    copy.perpetune("collect", "--record")
    unused = copy.path / "unused.txt"
    unused.write_text("nobody needs this")
    copy.run("dvc", "add", "-q", unused.name)
    digest = files.md5(unused)
    for path in (unused, copy.path / "unused.txt.dvc"):
        path.unlink()
    branch = copy.run("git", "branch", "--show-current").stdout.strip()
    copy.run("git", "checkout", "-q", "--orphan", "fresh")
    copy.run("git", "add", "-A")
    copy.run("git", "commit", "-qm", "Fresh")
    copy.run("git", "branch", "-qD", branch)
    assert cached(first) and cached(digest) and weights()

    copy.run(sys.executable, "-c", CLEAN)
    assert cached(first), "version 1 was made of it"
    assert cached(files.md5(data)), "it is there"
    assert not cached(digest)
    assert weights(), "version 1 waits for a decision"

    copy.perpetune("approve", "1", "--by", "Ada")
    copy.run(sys.executable, "-c", CLEAN)
    assert not weights()
    assert list((copy.path / ran["folder"] / "sweep/trials").glob("*/curve.jsonl"))
    assert cached(first)
    copy.perpetune("evaluate", "models:/tiny@champion", "--data", "data/benchmarks/held.jsonl")


def test_dvc_knows_the_curated_data(project: ProjectFolder, ran: dict) -> None:
    del ran
    again = project.run("dvc", "repro", "curate")
    assert "Running stage" not in again.stdout
    assert git_status(project) <= {" M dvc.lock", "?? artifacts/", " M .gitignore"}


def test_the_same_round_again_registers_nothing(project: ProjectFolder, ran: dict) -> None:
    for folder in ("data", "artifacts"):  # both come back
        shutil.rmtree(project.path / folder)
    again = project.perpetune("run")
    assert again["new"] is False
    assert again["version"] == 1
    assert again["verdict"] == ran["verdict"]
    assert (project.path / "data/benchmarks/held.jsonl").is_file()
    assert len(rounds_and_trials(project)[1]) == 4
    assert len(client(project).search_model_versions("name='tiny'")) == 1


def test_an_unchanged_round_imports_no_torch_and_notices_new_code_of_curation(
    project: ProjectFolder, ran: dict
) -> None:
    del ran
    (project.path / ".perpetune/curated/code").write_text("that of another version\n")
    code = (
        "import sys\n"
        "from perpetune.cli.main import main\n"
        "try:\n    main(['run'])\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'heavy import'\n"
    )
    done = project.run(sys.executable, "-c", code)
    assert "the code of curation has changed: curating again" in done.stderr
    assert "Nothing has changed since version 1" in done.stdout


def test_decisions_move_the_aliases_and_are_kept(project: ProjectFolder, ran: dict) -> None:
    del ran
    refused = project.perpetune("rollback", "--by", "Ada", exit_code=3)
    assert "previous" in refused["error"]
    project.perpetune("approve", "7", "--by", "Ada", exit_code=2)
    decision = project.perpetune("approve", "1", "--by", "Ada", "--comment", "reads well")
    assert (decision["action"], decision["by"]) == ("approve", "Ada")
    status = project.perpetune("status")
    assert (status["champion"], status["challenger"], status["pending"]) == (1, None, [])


def test_the_champion_can_be_measured(project: ProjectFolder, ran: dict) -> None:
    measured = project.perpetune(
        "evaluate", "models:/tiny@champion", "--data", "data/benchmarks/held.jsonl"
    )
    expected = ran["verdict"]["models"]["candidate"]["benchmarks"]["held"]["loss"]["value"]
    assert measured["benchmarks"]["held"]["loss"]["value"] == pytest.approx(expected, abs=1e-4)


def test_a_killed_run_goes_on_and_registers_once(
    new_project: Callable[[str], ProjectFolder],
) -> None:
    project = new_project("killed")
    process = project.start("perpetune", "run", "--json")
    trials = project.path / ".perpetune/rounds"
    end = time.monotonic() + 240
    while time.monotonic() < end and process.poll() is None:
        if len(list(trials.glob("*/sweep/trials/*/metrics.json"))) >= 2:
            break
        time.sleep(0.02)
    assert process.poll() is None, (project.path / "started.log").read_text()[-5000:]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {
        path: path.stat().st_mtime_ns for path in trials.glob("*/sweep/trials/*/metrics.json")
    }
    assert not list(trials.glob("*/sweep/sweep.json"))

    outcome = project.perpetune("run")

    assert outcome["version"] == 1
    assert len(outcome["sweep"]["trials"]) == 4
    # At most the last one seen had not been told to the study when the process died.
    repeated = [path for path, then in finished.items() if path.stat().st_mtime_ns != then]
    assert len(repeated) <= 1
    rounds, runs = rounds_and_trials(project)
    assert (len(rounds), len(runs)) == (1, 4)
    assert len(client(project).search_model_versions("name='tiny'")) == 1


def test_two_rounds_at_once_are_refused(new_project: Callable[[str], ProjectFolder]) -> None:
    from filelock import FileLock

    project = new_project("busy")
    state = project.path / ".perpetune"
    state.mkdir(exist_ok=True)
    with FileLock(state / "round.lock"):
        refused = project.perpetune("run", "--set", "platform.round_wait_minutes=0", exit_code=1)
        assert "another round is running" in refused["error"]
        waits = project.start("perpetune", "run", "--set", "platform.round_wait_minutes=0.02")
        assert waits.wait(120) == 1
    assert "waiting up to 0.02 minutes" in (project.path / "started.log").read_text()


def test_a_candidate_that_fails_its_gates_is_not_offered(
    new_project: Callable[[str], ProjectFolder],
) -> None:
    project = new_project("worse")
    # A rate at which a model of this size unlearns rather than learns.
    ruin = ["--set", "sweep.space={tune.method.rank: [2], tune.learning_rate: [1e-9]}"]
    outcome = project.perpetune("run", *ruin, "--set", "tune.max_steps=1", exit_code=3)
    assert outcome["verdict"]["passed"] is False
    status = project.perpetune("status")
    assert (status["challenger"], status["pending"]) == (None, [])
    refused = project.perpetune("approve", str(outcome["version"]), "--by", "Ada", exit_code=3)
    assert "verdict" in refused["error"]
    assert Path(project.path / outcome["folder"] / "evaluate/review.html").is_file()
