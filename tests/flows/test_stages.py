"""`dvc repro` by its own rules: what runs, what does not, what there is to look at."""

import json
import shutil
import sys
from pathlib import Path

from tasks.core import files
from tests.project import ProjectFolder


def stages_run(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_stages_run_once_and_only_what_changed_runs_again(project: ProjectFolder) -> None:
    first = project.run("dvc", "repro")
    assert stages_run(first.stdout) == ["collect", "curate", "train", "evaluate"]
    assert stages_run(project.run("dvc", "repro").stdout) == []

    params = project.path / "params.yaml"
    params.write_text(params.read_text().replace("learning_rate: 0.01", "learning_rate: 0.02"))
    changed = project.run("dvc", "repro")
    assert stages_run(changed.stdout) == ["train", "evaluate"]


def test_metrics_and_plots_show_something(project: ProjectFolder) -> None:
    metrics = json.loads(project.run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    assert metrics["artifacts/curated.json"]["data"]["in"] == 240
    trained = metrics["artifacts/trained.json"]["data"]
    assert trained["validation_loss"] < trained["initial_validation_loss"]
    held = metrics["artifacts/evaluated.json"]["data"]["held"]
    whole = json.loads((project.path / "artifacts/evaluated/metrics.json").read_text())
    assert held["loss"] == whole["benchmarks"]["held"]["loss"]["value"]
    columns = project.run("dvc", "metrics", "show", "--md").stdout.splitlines()[0].split("|")
    assert len(columns) < 16  # it can be read
    project.run("dvc", "plots", "show")
    page = (project.path / "dvc_plots/index.html").read_text()
    assert "validation_loss" in page
    assert "dvc_plots" not in project.run("git", "status", "--porcelain").stdout


def test_training_again_gives_the_same_bytes(project: ProjectFolder) -> None:
    before = json.loads(project.run("dvc", "status", "--json").stdout or "{}")
    assert "train" not in before
    lock = (project.path / "dvc.lock").read_text()
    adapter = lock.split("path: artifacts/trained/best")[1].split("md5: ")[1].split()[0]
    project.run("dvc", "repro", "--force", "--single-item", "train")
    again = (project.path / "dvc.lock").read_text()
    assert adapter in again.split("path: artifacts/trained/best")[1][:200]


def test_new_data_is_noticed_after_dvc_add(project: ProjectFolder) -> None:
    source = project.path / "data/train/docs.jsonl"
    lines = source.read_text().splitlines(keepends=True)
    source.write_text("".join(lines[:-1]))
    project.run("dvc", "add", "data")
    ran = stages_run(project.run("dvc", "repro").stdout)
    assert ran[:2] == ["collect", "curate"]


def test_what_make_run_pushes_can_be_pulled_in_a_clone(
    project: ProjectFolder, tmp_path: Path
) -> None:
    """Data that was built, not added, is in no cache; stages that were never run have no files."""
    project.perpetune("collect", "--record")
    shutil.rmtree(project.path / ".dvc/cache")
    shutil.rmtree(project.path / "artifacts", ignore_errors=True)
    (project.path / "dvc.lock").unlink(missing_ok=True)
    code = "import sys; from pathlib import Path; from flows.data import curated_data; "
    code += "from tasks.settings import load_settings; curated_data(load_settings())"
    project.run(sys.executable, "-c", code)
    project.run("dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "After make run")
    pushed = project.run("dvc", "push")
    assert "Some of the cache files do not exist" not in pushed.stderr
    clone = ProjectFolder(tmp_path / "clone", project.path)
    project.run("git", "clone", "-q", str(project.path), str(clone.path))
    clone.run("dvc", "pull", "--allow-missing")
    assert files.file_hashes(clone.path / "data") == files.file_hashes(project.path / "data")
    assert stages_run(clone.run("dvc", "repro", "curate").stdout) == []
    project.run("dvc", "remote", "remove", "store")


def test_data_that_is_not_what_data_dvc_says_is_refused(project: ProjectFolder) -> None:
    project.perpetune("collect", "--record")
    benchmark = project.path / "data/benchmarks/held.jsonl"
    before = benchmark.read_text()
    benchmark.write_text(before.replace("Sort", "Sorted"))
    refused = project.perpetune("collect", exit_code=1)
    assert "benchmarks/held.jsonl" in refused["error"]
    benchmark.write_text(before)
    project.perpetune("collect")


def test_a_clone_without_data_says_where_it_could_come_from(project: ProjectFolder) -> None:
    shutil.rmtree(project.path / "data")
    shutil.rmtree(project.path / ".dvc/cache")
    refused = project.perpetune("collect", exit_code=1)
    assert "dvc pull" in refused["error"]
    assert not (project.path / "data").exists()
