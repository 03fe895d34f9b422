"""A backup of a project in use is whole, and what is restored from it is what was saved."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.backup import back_up, restore
from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError, Refused
from tasks.registry import Candidate, Registry
from tasks.settings import Settings


def add(registry: Registry, key: str, adapter: Path) -> int:
    reference = adapter.parent / "reference.jsonl"
    reference.write_text("{}\n")
    run = registry.tracking.open_round(key, name=key, params={}, tags={}, datasets=[])
    candidate = Candidate(adapter, True, {"passed": True}, "card", (reference,))
    return registry.register(run, key, candidate).number


def elsewhere(settings: Settings, folder: Path) -> Settings:
    return settings.replace(project=settings.project.replace(state_dir=folder))


def test_a_backup_that_is_taken_while_others_write_is_whole(
    new_project: Callable[..., Settings], plain_adapter: Path, tmp_path: Path
) -> None:
    settings = new_project()
    registry = Registry(settings)
    add(registry, "k1", plain_adapter)
    registry.approve(1, "Ada")
    state = settings.project.state_dir
    (state / "watch").mkdir()
    (state / "watch/history.jsonl").write_text("{}\n")
    for name in ("credentials", "models", "rounds", "logs"):
        (state / name).mkdir()
        (state / name / "x").write_text("left out")
    ended, problems = threading.Event(), []

    def write() -> None:
        mine = Registry(settings)
        number = 1
        try:
            while not ended.is_set():
                number += 1
                add(mine, f"k{number}", plain_adapter)
                mine.approve(number, "Ada")
        except PerpetuneError as error:
            problems.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backups = [back_up(settings, tmp_path / f"backup {i}") for i in range(2)]
    finally:
        ended.set()
        writer.join()
    assert problems == []
    for number, backup in enumerate(backups):
        new = elsewhere(settings, tmp_path / f"new {number}")
        restored = restore(new, Path(backup.folder))
        assert (restored.files, restored.unchanged) == (backup.files, 0)
        again = Registry(new)
        assert again.audit().problems == ()
        champion = again.status().champion
        assert champion is not None
        found = again.versions.adapter(f"models:/tiny.model/{champion}", tmp_path / f"got {number}")
        assert files.file_hashes(found) == files.file_hashes(plain_adapter)
        assert (new.project.state_dir / "watch/history.jsonl").read_text() == "{}\n"
        names = {path.name for path in new.project.state_dir.iterdir()}
        assert not names & {"credentials", "models", "rounds", "logs"}


@pytest.fixture
def saved(new_project: Callable[..., Settings], tmp_path: Path) -> tuple[Settings, Path]:
    """A small project and its backup."""
    settings = new_project()
    state = settings.project.state_dir
    (state / "credentials").mkdir()
    (state / "credentials/prefect").write_text("perpetune:not-to-be-seen\n")
    (state / "mlartifacts").mkdir()
    (state / "mlartifacts/large.bin").write_bytes(b"0" * 1000)
    back_up(settings, tmp_path / "backup")
    return settings, tmp_path / "backup"


def test_restoring_overwrites_nothing(saved: tuple[Settings, Path], tmp_path: Path) -> None:
    settings, backup = saved
    restored = elsewhere(settings, tmp_path / "restored")
    restore(restored, backup)
    (restored.project.state_dir / "mlartifacts/large.bin").unlink()
    again = restore(restored, backup)
    assert again.files - again.unchanged == 1, "it goes on where it was interrupted"
    before = files.sha256(settings.project.state_dir / "mlflow.db")
    with pytest.raises(Refused, match=r"mlflow\.db is there already.*mv "):
        restore(settings, backup)
    assert files.sha256(settings.project.state_dir / "mlflow.db") == before
    new = elsewhere(settings, tmp_path / "new")
    new.project.state_dir.mkdir()
    (new.project.state_dir / "mlflow.db-wal").write_text("of another database")
    with pytest.raises(Refused, match=r"mlflow\.db-wal is there already"):
        restore(new, backup)
    assert not (new.project.state_dir / "mlflow.db").exists()


@pytest.mark.parametrize("damage", ["altered", "missing", "unfinished", "leads out", "of another"])
def test_a_damaged_backup_is_refused_before_anything_is_written(
    saved: tuple[Settings, Path], tmp_path: Path, damage: str
) -> None:
    settings, backup = saved
    manifest = backup / "manifest.json"
    if damage == "altered":
        with (backup / "state/mlartifacts/large.bin").open("r+b") as file:
            file.write(b"1")
    elif damage == "missing":
        (backup / "state/mlflow.db").unlink()
    elif damage == "unfinished":
        manifest.unlink()
    else:
        plain = json.loads(manifest.read_text())
        if damage == "leads out":
            plain["files"]["state/../../evil"] = {"bytes": 1, "sha256": "0" * 64}
        else:
            plain["project"] = "another"
        manifest.write_text(json.dumps(plain))
    new = elsewhere(settings, tmp_path / "new")
    with pytest.raises(BadInput, match="backup"):
        restore(new, backup)
    assert not new.project.state_dir.exists()


def test_what_a_backup_leaves_out(saved: tuple[Settings, Path], tmp_path: Path) -> None:
    settings, backup = saved
    everything = [path for path in backup.rglob("*") if path.is_file()]
    assert not any(b"not-to-be-seen" in path.read_bytes() for path in everything)
    assert backup.stat().st_mode & 0o777 == 0o700
    with pytest.raises(BadInput, match="not empty"):
        back_up(settings, backup)
    small = back_up(settings, tmp_path / "small", artifacts=False, credentials=True)
    assert not (tmp_path / "small/state/mlartifacts").exists()
    listed = json.loads((tmp_path / "small/manifest.json").read_text())["listed"]
    assert listed == {"mlartifacts/large.bin": 1000}
    assert any("artifacts" in sentence for sentence in small.left_out)
    kept = tmp_path / "small/state/credentials/prefect"
    assert kept.read_text() == "perpetune:not-to-be-seen\n"
    assert kept.stat().st_mode & 0o777 == 0o600
    secret = settings.replace(
        project=settings.project.replace(tracking_uri="postgresql://u:hidden@db/x")
    )
    assert "hidden" not in str(back_up(secret, tmp_path / "remote").left_out)
    shutil.rmtree(settings.project.state_dir)
    with pytest.raises(BadInput, match="nothing to save"):
        back_up(settings, tmp_path / "nothing")


def test_a_decision_log_in_a_file_comes_along(
    new_project: Callable[..., Settings], tmp_path: Path
) -> None:
    log = tmp_path / "decisions.jsonl"
    settings = new_project(decisions={"log": str(log)})
    log.write_text("an entry\n")
    back_up(settings, tmp_path / "backup")
    log.unlink()
    restore(elsewhere(settings, tmp_path / "new"), tmp_path / "backup")
    assert log.read_text() == "an entry\n"
