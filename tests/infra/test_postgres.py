"""The registry with MLflow's tables and the decision log in PostgreSQL, and the way there."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from sqlalchemy import create_engine, text

from perpetune.platform.metrics import Exporter, as_text
from tasks.registry import Candidate, Registry
from tasks.settings import Settings
from tests.infra.servers import Postgres, postgres

MOVE = Path(__file__).parents[2] / "infra/move/to_postgres.py"
EMPTY = "mlflow_tables"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        running.create(EMPTY)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in running.environment.items():
                patch.setenv(name, value)
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            from mlflow.store.db.utils import _initialize_tables

            engine = create_engine(running.url(EMPTY))
            _initialize_tables(engine)
            engine.dispose()
            yield running


@pytest.fixture
def database(server: Postgres, request: pytest.FixtureRequest) -> str:
    """A new database with MLflow's tables, and nothing in them."""
    name = f"mlflow_{abs(hash(request.node.name)) % 10**9}"
    server.run("createdb", "--template", EMPTY, name)
    return server.url(name)


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(**sections: dict) -> Settings:
        project = {"name": "tiny", "state_dir": str(tmp_path / "state")}
        plain = {**sections, "project": project | sections.get("project", {})}
        return Settings.model_validate(plain)

    return make


def register(registry: Registry, folder: Path) -> int:
    """One more candidate that passed its gates."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4}')
    save_file({"lora_A": np.ones((4, 8), np.float32)}, folder / "adapter_model.safetensors")
    key = f"round-{len(registry.versions.recorded()) + 1}"
    run = registry.tracking.open_round(key, name=key, params={}, tags={}, datasets=[])
    candidate = Candidate(folder, True, {"passed": True}, "A card.")
    return registry.register(run, key, candidate).number


def test_versions_and_decisions_are_kept_in_postgresql(
    server: Postgres, database: str, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    server.create("decisions")
    settings = make_settings(
        project={"tracking_uri": database}, decisions={"log": server.url("decisions")}
    )
    registry = Registry(settings)
    assert register(registry, tmp_path / "best") == 1
    registry.approve(1, "Ada")
    assert register(registry, tmp_path / "best") == 2
    registry.approve(2, "Ada")
    registry.rollback("Ada")
    status = registry.status()
    assert (status.champion, status.challenger, status.warnings) == (1, None, ())
    audit = registry.audit()
    assert audit.holds, audit.problems
    assert audit.log == server.url("decisions")
    rows = server.run("psql", "-Atc", "SELECT count(*) FROM perpetune_decisions", "decisions")
    assert int(rows) == len(audit.entries) == 5


def test_metrics_are_read_from_postgresql(
    server: Postgres, database: str, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings(project={"tracking_uri": database})
    registry = Registry(settings)
    register(registry, tmp_path / "best")
    registry.approve(1, "Ada")
    register(registry, tmp_path / "best")
    params = tmp_path / "params.yaml"
    params.write_text(
        f"project:\n  name: tiny\n  state_dir: {tmp_path / 'state'}\n  tracking_uri: {database}\n"
    )
    lines = as_text(Exporter(params, [], None)).splitlines()
    assert 'perpetune_up{model="tiny"} 1.0' in lines
    assert 'perpetune_champion_version{model="tiny"} 1.0' in lines
    assert 'perpetune_candidates_waiting{model="tiny"} 1.0' in lines
    assert 'perpetune_rounds{model="tiny",status="FINISHED"} 2.0' in lines
    assert 'perpetune_decisions_total{action="approve",model="tiny"} 1.0' in lines
    server.stop()
    try:
        lines = as_text(Exporter(params, [], None)).splitlines()
    finally:
        server.start()
    assert 'perpetune_up{model="tiny"} 0.0' in lines
    assert not [line for line in lines if line.startswith("perpetune_champion_version{")]


def move(source: Path, target: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, MOVE, source, target], capture_output=True, text=True, check=False
    )


def test_a_project_moves_from_sqlite(
    database: str, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    before = Registry(make_settings())
    register(before, tmp_path / "best")
    before.approve(1, "Ada")
    sqlite = tmp_path / "state/mlflow.db"
    done = move(sqlite, database)
    assert done.returncode == 0, done.stderr
    after = Registry(make_settings(project={"tracking_uri": database}))
    assert after.versions.state().head == before.versions.state().head
    assert after.status().champion == 1
    # Files are where a server that hands them on has them.
    with create_engine(database).connect() as connection:
        places = connection.execute(
            text(
                "SELECT artifact_uri FROM runs UNION ALL "
                "SELECT artifact_location FROM logged_models UNION ALL "
                "SELECT source FROM model_versions WHERE name = 'tiny'"
            )
        ).scalars()
        assert {place.partition(":/")[0] for place in places} == {"mlflow-artifacts"}
        # What comes next has a number of its own.
        connection.execute(
            text("INSERT INTO experiments (name, lifecycle_stage) VALUES ('n', 'active')")
        )
    again = move(sqlite, database)
    assert again.returncode == 2
    assert "not empty" in again.stderr
