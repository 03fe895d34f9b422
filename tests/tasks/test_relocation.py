"""A project that was moved or copied finds its own artifacts, and touches no other project's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core import files
from tasks.registry import Candidate, Registry
from tasks.registry.relocation import located
from tasks.settings import Settings
from tests.project import PROJECT

AWKWARD = ["a b", "ü 判", "what?", "#1", "100%41", "mlartifacts"]


def settings_in(folder: Path) -> Settings:
    return Settings.model_validate(
        {"project": {"name": "tiny.model", "state_dir": str(folder / ".perpetune")}}
    )


def add(registry: Registry, key: str, adapter: Path) -> None:
    reference = adapter.parent / "reference.jsonl"
    reference.write_text("{}\n")
    run = registry.tracking.open_round(key, name=key, params={}, tags={}, datasets=[])
    registry.register(run, key, Candidate(adapter, True, {"passed": True}, "card", (reference,)))


@pytest.fixture
def project(
    mlflow_database: Path, tmp_path: Path, plain_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project folder with a version that waits."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "where it was"
    (folder / ".perpetune").mkdir(parents=True)
    shutil.copy(mlflow_database, folder / ".perpetune" / "mlflow.db")
    add(Registry(settings_in(folder)), "k1", plain_adapter)
    return folder


def content(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, files.md5(path))
        for path in folder.rglob("*")
        if path.is_file()
    }


def works(folder: Path, adapter: Path) -> None:
    """Reading writes nothing; deciding and another round write into this project."""
    before = content(folder)
    registry = Registry(settings_in(folder))
    assert registry.relocation().locations > 0
    assert registry.status().challenger == 1
    found = registry.versions.adapter("models:/tiny.model/1", folder / "taken")
    assert files.file_hashes(found) == files.file_hashes(adapter)
    shutil.rmtree(folder / "taken")
    new = {name for name in content(folder) if name not in before}
    assert all(name.startswith(".perpetune/versions/") for name in new), "a cache, nothing else"
    assert {name: before[name] for name in before} == {
        name: entry for name, entry in content(folder).items() if name in before
    }
    assert registry.versions.artifact(1, "reference.jsonl").read_text() == "{}\n"

    registry.approve(1, "ann")
    assert Registry(settings_in(folder)).relocation().locations == 0
    add(Registry(settings_in(folder)), "k2", adapter)
    mine = folder / ".perpetune" / "mlartifacts"
    assert len([*mine.rglob("adapter_model.safetensors")]) == 2
    again = Registry(settings_in(folder))
    assert again.status().champion == 1
    assert again.versions.artifact(2, "card.md").read_text() == "card"


def test_a_copy_leaves_the_original_alone(
    project: Path, tmp_path: Path, plain_adapter: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(project, tmp_path / "copy")
    before = content(project)
    works(tmp_path / "copy", plain_adapter)
    assert content(project) == before
    assert sum("moved or copied" in record.message for record in caplog.records) == 1
    assert Registry(settings_in(project)).status().champion is None


def test_a_moved_project_works_on(project: Path, tmp_path: Path, plain_adapter: Path) -> None:
    moved = tmp_path / "elsewhere" / "it is now"
    moved.parent.mkdir()
    project.rename(moved)
    works(moved, plain_adapter)
    assert not project.exists()


def test_doctor_relocates(project: Path, tmp_path: Path) -> None:
    from perpetune.platform.doctor import diagnose

    project.rename(tmp_path / "new")
    settings = settings_in(tmp_path / "new")
    (check, *_) = diagnose(settings).checks
    assert check.name == "artifacts"
    assert "was moved or copied" in check.problems[0].what
    (check, *others) = diagnose(settings, relocate=True).checks
    assert not check.problems
    assert "locations of artifacts lead to" in check.done[0]
    assert not any(other.done for other in others)


def test_relocation_on_demand_says_what_it_changed(project: Path, tmp_path: Path) -> None:
    project.rename(tmp_path / "new")
    registry = Registry(settings_in(tmp_path / "new"))
    found = registry.relocation()
    assert found.elsewhere == (str(project / ".perpetune" / "mlartifacts"),)
    assert registry.relocate() == found
    assert Registry(settings_in(tmp_path / "new")).relocate().locations == 0


@pytest.mark.parametrize(
    ("location", "now"),
    [
        ("file:///old/%C3%BC/mlartifacts/1/artifacts", "file:///new/mlartifacts/1/artifacts"),
        ("/old/a?b/mlartifacts/1", "file:///new/mlartifacts/1"),
        ("/old/mlartifacts/p/mlartifacts", "file:///new/mlartifacts"),
        ("file:///new/mlartifacts/1", "file:///new/mlartifacts/1"),
        ("/new/mlartifacts/1", "/new/mlartifacts/1"),
        ("/old/chosen-by-me/1", "/old/chosen-by-me/1"),
        ("s3://bucket/mlartifacts/1", "s3://bucket/mlartifacts/1"),
        ("mlflow-artifacts:/1", "mlflow-artifacts:/1"),
        ("file://server/mlartifacts/1", "file://server/mlartifacts/1"),
    ],
)
def test_only_what_a_project_put_beside_its_database_is_relocated(location: str, now: str) -> None:
    assert located(location, Path("/new/mlartifacts")) == now


def test_paths_of_any_name_work_in_any_locale(
    mlflow_database: Path, tmp_path: Path, plain_adapter: Path
) -> None:
    for name in AWKWARD:
        (tmp_path / name / ".perpetune").mkdir(parents=True)
        shutil.copy(mlflow_database, tmp_path / name / ".perpetune" / "mlflow.db")
    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, sys\n"
        "from tests.tasks.test_relocation import Registry, add, settings_in\n"
        "adapter, root, *names = map(pathlib.Path, sys.argv[1:])\n"
        "for name in names:\n"
        "    add(Registry(settings_in(root / name)), 'k', adapter)\n"
        "    registry = Registry(settings_in(root / name))\n"
        "    registry.approve(1, 'ann')\n"
        "    assert (registry.versions.adapter('models:/tiny.model@champion')).is_dir()\n"
        "    assert registry.versions.artifact(1, 'card.md').is_file()\n"
        "    assert registry.relocation().locations == 0\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, str(script), str(plain_adapter), str(tmp_path), *AWKWARD],
        env={"PYTHONPATH": str(PROJECT), "LANG": "C", "LC_ALL": "C", "PATH": os.environ["PATH"]},
        cwd=elsewhere,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [*elsewhere.iterdir()] == []
    for name in AWKWARD:
        assert len([*(tmp_path / name).rglob("mlartifacts/*/artifacts/card.md")]) == 1


def test_everything_is_readable_whatever_the_umask(
    mlflow_database: Path, tmp_path: Path, plain_adapter: Path
) -> None:
    state = tmp_path / ".perpetune"
    state.mkdir()
    shutil.copy(mlflow_database, state / "mlflow.db")
    (plain_adapter / "adapter_model.safetensors").chmod(0o600)
    before = os.umask(0o077)
    try:
        add(Registry(settings_in(tmp_path)), "k", plain_adapter)
    finally:
        os.umask(before)
    folder = state / "mlartifacts"
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
