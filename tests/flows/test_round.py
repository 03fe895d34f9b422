"""The key of a round: it changes with the code that decides the outcome."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

STATE = """
import os, sys
from flows.round import code_state
for folder in sys.argv[1:]:
    os.chdir(folder)
    state = code_state()
    print(state.commit, state.dirty)
"""

CODE = """
import sys
from flows.round import outcome_version
from tasks.settings import Settings
print(outcome_version(Settings.model_validate({"project": {"plugins": sys.argv[1:]}})))
"""


def code_version(copy: Path, *plugins: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *plugins],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("flows", "tasks"):
        shutil.copytree(
            PROJECT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path


def test_a_change_of_the_trainer_makes_another_round(copy: Path) -> None:
    before = code_version(copy)
    assert code_version(copy) == before
    changes = {
        "tasks/tune/train/loop.py": True,
        "tasks/evaluate/statistics.py": True,
        "tasks/rendering/markdown.py": False,  # how things look decides nothing
    }
    for name, decides in changes.items():
        known = code_version(copy)
        with (copy / name).open("a") as file:
            file.write("\n_CHANGED = True\n")
        assert (code_version(copy) != known) is decides, name


def test_a_change_of_a_plugin_makes_another_round(copy: Path) -> None:
    plugin = copy / "my_metric.py"
    plugin.write_text("WORDS = 3\n")
    before = code_version(copy, plugin.name)
    assert before != code_version(copy)
    plugin.write_text("WORDS = 4\n")
    assert before != code_version(copy, plugin.name)


def test_a_lock_file_that_dvc_rewrites_is_no_change_of_the_code(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=Test", "-c", "user.email=test@localhost")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def states(*folders: Path) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", STATE, *map(str, folders)],
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    project = tmp_path / "in a repository"
    project.mkdir()
    for name in ("dvc.lock", "params.yaml"):
        (project / name).write_text("old\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "A project")
    commit = git("rev-parse", "HEAD")
    (project / "dvc.lock").write_text("new\n")
    elsewhere = tmp_path.parent / "no repository"
    elsewhere.mkdir(exist_ok=True)
    assert states(project, elsewhere) == [f"{commit} False", "None False"]
    (project / "params.yaml").write_text("new\n")
    assert states(project, project.parent) == [f"{commit} True"] * 2
