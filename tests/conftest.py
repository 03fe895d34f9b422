"""What several tests stand on: a tiny model that trains in seconds, and settings around it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tasks.settings import Settings
from tests.project import ProjectFolder, make_project, make_tiny_base
from tests.sections import settings_from

# Test processes run side by side: threads of one would only wait for those of another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The suite tests the CPU, also where there is a GPU. test_tune_gpu.py shows it to its processes.
os.environ.setdefault("TESTED_GPUS", os.environ.get("CUDA_VISIBLE_DEVICES", "0"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""

PROJECT = Path(__file__).parent.parent

_OF_SERVERS = ("MLFLOW_", "PREFECT_")


@pytest.fixture(autouse=True)
def environment_as_before() -> Iterator[None]:
    """What a test, or a library in it, sets for servers is not for the next one."""
    before = dict(os.environ)
    yield
    for name in {*before, *os.environ}:
        if name.startswith(_OF_SERVERS) and os.environ.get(name) != before.get(name):
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights and the real tokenizer, as a folder."""
    return make_tiny_base(tmp_path_factory.mktemp("tiny-base"))


@pytest.fixture
def make_settings(tiny_base: Path, tmp_path: Path) -> Callable[..., Settings]:
    """`tests.sections.settings_from` for the tiny base: `make_settings(tune={"rank": 4}, ...)`."""

    def make(**sections: dict) -> Settings:
        plain = {
            "project": {"name": "tiny", "state_dir": str(tmp_path / "state")},
            "base": {"model": str(tiny_base), "dtype": "float32"},
        }
        for name, values in sections.items():
            plain[name] = plain.get(name, {}) | values
        return settings_from(**plain)

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Settings for the tiny base with every default."""
    return make_settings()


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    """Write values as JSONL (text goes in as it is): `write_lines("a.jsonl", {...}, "broken")`."""

    def write(name: str, *values: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [value if isinstance(value, str) else json.dumps(value) for value in values]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of Prefect's, migrated once for all test processes: that takes a while."""
    home = tmp_path_factory.getbasetemp().parent / "migrated-prefect-home"
    database = home / "prefect.db"
    with FileLock(f"{home}.lock"):
        if not database.is_file():
            command = [Path(sys.executable).with_name("prefect"), "server", "database", "upgrade"]
            environment = os.environ | {"PREFECT_HOME": str(home)}
            subprocess.run([*command, "-y"], env=environment, check=True, capture_output=True)
    return database


@pytest.fixture(scope="module")
def prefect_home(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Path:
    """A Prefect home for a module's projects: no run or queue of another module's is in it."""
    home = tmp_path_factory.mktemp("prefect-home")
    shutil.copy(prefect_database, home)
    return home


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, prefect_home: Path
) -> ProjectFolder:
    """A project that the tests of one module use in their order."""
    return make_project(tmp_path_factory.mktemp("project") / "p", tiny_base, prefect_home)


@pytest.fixture
def new_project(
    tmp_path: Path, tiny_base: Path, prefect_home: Path
) -> Callable[[str], ProjectFolder]:
    """Make projects that nothing has run in yet."""
    return lambda name: make_project(tmp_path / name, tiny_base, prefect_home)
