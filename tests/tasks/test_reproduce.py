"""What is recorded to make a version again, and how the two are compared."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.reproduce import record_source
from tasks.reproduce.git import git
from tasks.settings import Settings


def run(*arguments: str, folder: Path) -> str:
    return git(*arguments, folder=folder).decode()


@pytest.fixture(params=["p", "ein Ordner mit Ümlaut"])
def repository(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A repository with one commit."""
    folder = tmp_path / request.param
    folder.mkdir()
    (folder / "kept.txt").write_text("one\n")
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "gone.txt").write_text("gone\n")
    (folder / ".gitignore").write_text("ignored*\nstate/\n")
    for command in (
        ("init", "-q"),
        ("config", "user.email", "test@localhost"),
        ("config", "user.name", "Test"),
        ("add", "-A"),
        ("commit", "-qm", "one"),
    ):
        run(*command, folder=folder)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.parts and "state" not in path.parts
    }


def test_a_clean_repository_is_its_commit(repository: Path) -> None:
    source = record_source(repository / "state", Settings(), repository)
    assert source.commit == run("rev-parse", "HEAD", folder=repository).strip()
    assert source.changed == ()
    assert source.patch_sha256 is None
    assert not (repository / "state/changes.patch").exists()


def test_what_is_not_committed_is_a_patch_that_gives_the_same_files(
    repository: Path, tmp_path: Path, settings_with: Callable[..., Settings]
) -> None:
    (repository / "kept.txt").write_text("two  \r\n")
    (repository / "binary").write_bytes(bytes(range(255, -1, -1)))
    (repository / "gone.txt").unlink()
    (repository / "tasks").mkdir()
    (repository / "tasks/new code.py").write_text("new = 1\n")
    (repository / "ignored_plugin.py").write_text("plugin = 1\n")
    (repository / "notes.txt").write_text("nobody reads this\n")
    before = run("status", "--porcelain", "-z", folder=repository)
    objects = run("count-objects", folder=repository)
    settings = settings_with(project={"plugins": ["ignored_plugin.py"]}, folder=repository)
    source = record_source(repository / "state", settings, repository)
    assert set(source.changed) == {
        *("kept.txt", "binary", "gone.txt"),
        *("tasks/new code.py", "ignored_plugin.py"),
    }
    assert run("status", "--porcelain", "-z", folder=repository) == before
    assert run("count-objects", folder=repository) == objects

    again = tmp_path / "again"
    run("clone", "-q", str(repository), str(again), folder=tmp_path)
    run("apply", "--whitespace=nowarn", str(repository / "state/changes.patch"), folder=again)
    wanted = tree(repository)
    del wanted["notes.txt"]
    assert tree(again) == wanted


def test_a_project_below_the_root_of_its_repository(repository: Path) -> None:
    (repository / "models/own").mkdir(parents=True)
    (repository / "models/own/params.yaml").write_text("{}\n")
    (repository / "models/own/data.dvc").write_text("outs: []\n")
    source = record_source(repository / "state", Settings(), repository / "models/own")
    assert source.prefix == "models/own/"
    assert source.changed == ("models/own/data.dvc",)


def test_outside_of_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert record_source(tmp_path / "state", Settings(), tmp_path).commit is None


@pytest.fixture
def settings_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    def make(folder: Path, **sections: dict) -> Settings:
        monkeypatch.chdir(folder)
        return Settings.model_validate(sections)

    return make
