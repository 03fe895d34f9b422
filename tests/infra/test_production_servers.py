"""The main job on PostgreSQL and S3, by settings and environment alone, with accounts in MLflow."""

import importlib.util
import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.infra.servers import SCRIPTS, Postgres, object_store_program, postgres, running
from tests.platform import free_port
from tests.project import ProjectFolder, make_project

pytestmark = pytest.mark.slow

ADMIN = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "a-long-password"}
STORE = {
    "AWS_ACCESS_KEY_ID": "perpetune",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-object-store",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Stack:
    """The servers of production on one machine, and the environment that leads to them."""

    def __init__(self, folder: Path, exits: ExitStack) -> None:
        program = object_store_program()
        if importlib.util.find_spec("boto3") is None:
            pytest.skip("boto3 is not installed: MLflow's server keeps artifacts in S3 through it")
        self.database: Postgres = exits.enter_context(postgres())
        self.database.create("prefect", "mlflow", "mlflow_accounts", "decisions")
        folder.mkdir()
        self._folder, self._exits = folder, exits
        self.store_url = self._serve(
            "s3", lambda port: [program, "-p", str(port)], {}, "/moto-api/"
        )
        self.mlflow_url = self._mlflow()
        self.prefect_url = self._prefect()

    @property
    def environment(self) -> dict[str, str]:
        """Of a command and of a worker: no address of a database, no credential of the store."""
        return ADMIN | {
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "PREFECT_API_URL": f"{self.prefect_url}/api",
            "PREFECT_API_AUTH_STRING": "perpetune:prefect-password",
            "PGPASSWORD": self.database.password,
        }

    def objects(self, bucket: str) -> list[str]:
        """Keys in a bucket."""
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=self.store_url,
            aws_access_key_id=STORE["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=STORE["AWS_SECRET_ACCESS_KEY"],
            region_name=STORE["AWS_DEFAULT_REGION"],
        )
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def _mlflow(self) -> str:
        for bucket in ("mlflow", "dvc"):
            request = urllib.request.Request(f"{self.store_url}/{bucket}", method="PUT")
            urllib.request.urlopen(request, timeout=20).close()
        accounts = self._folder / "basic_auth.ini"
        database = self.database.url("mlflow_accounts")
        accounts.write_text(
            "[mlflow]\ndefault_permission = READ\n"
            f"database_uri = {database}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
            "grant_default_workspace_access = false\n"
            "auth_cache_ttl_seconds = 60\n"
        )
        environment = STORE | {
            "MLFLOW_AUTH_CONFIG_PATH": str(accounts),
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN["MLFLOW_TRACKING_USERNAME"],
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN["MLFLOW_TRACKING_PASSWORD"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a-static-key",
            "MLFLOW_S3_ENDPOINT_URL": self.store_url,
            "MLFLOW_BACKEND_STORE_URI": self.database.url("mlflow"),
            "PGPASSWORD": self.database.password,
            "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow/artifacts",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        server = [f"{SCRIPTS}/mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
        return self._serve(
            "mlflow",
            lambda port: [*server, "--host", "127.0.0.1", "--port", str(port)],
            environment,
            "/health",
        )

    def _prefect(self) -> str:
        environment = {
            "PREFECT_HOME": str(self._folder / "prefect"),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.database.url(
                "prefect", "postgresql+asyncpg"
            ),
            "PGPASSWORD": self.database.password,
            "PREFECT_SERVER_API_AUTH_STRING": "perpetune:prefect-password",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        server = [f"{SCRIPTS}/prefect", "server", "start", "--host", "127.0.0.1"]
        return self._serve(
            "prefect", lambda port: [*server, "--port", str(port)], environment, "/api/health"
        )

    def _serve(self, name, command, environment, ready) -> str:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        self._exits.enter_context(
            running(name, command(port), os.environ | environment, self._folder, url + ready)
        )
        return url


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with ExitStack() as exits:
        yield Stack(tmp_path_factory.mktemp("stack") / "servers", exits)


@pytest.fixture(scope="module")
def project(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory, tiny_base: Path
) -> ProjectFolder:
    """The small project; what differs from a local one is in its settings and its environment."""
    folder = tmp_path_factory.mktemp("project")
    made = make_project(folder / "p", tiny_base, folder / "prefect-home")
    made.environment |= stack.environment
    yaml = YAML()
    settings = yaml.load(made.path / "params.yaml")
    settings["decisions"]["log"] = stack.database.url("decisions")
    settings["decisions"]["authentication"] = "required"
    yaml.dump(settings, made.path / "params.yaml")
    made.run("dvc", "remote", "add", "-d", "store", "s3://dvc/cache")
    made.run("dvc", "remote", "modify", "store", "endpointurl", stack.store_url)
    made.run("git", "commit", "-qam", "Production")
    return made


@pytest.fixture(scope="module")
def ran(project: ProjectFolder) -> dict:
    return project.perpetune("run")


def test_a_round_brings_a_candidate(project: ProjectFolder, ran: dict) -> None:
    assert ran["version"] == 1
    status = project.perpetune("status")
    assert status["warnings"] == []
    assert (status["champion"], status["challenger"]) == (None, 1)
    # Nothing of the registry is in the project.
    assert not (project.path / ".perpetune/mlflow.db").exists()
    assert not (project.path / ".perpetune/mlartifacts").exists()


def test_artifacts_and_data_are_in_the_object_store(
    project: ProjectFolder, stack: Stack, ran: dict
) -> None:
    del ran
    kept = stack.objects("mlflow")
    assert any(key.endswith("adapter_model.safetensors") for key in kept), kept
    assert any(key.endswith("evaluate/review.html") for key in kept)
    project.run("dvc", "push", "-q", "data.dvc")
    assert stack.objects("dvc")


def test_approval_is_by_an_account(project: ProjectFolder, ran: dict) -> None:
    del ran
    project.perpetune("approve", "1", "--by", "Grace", exit_code=3)
    project.perpetune("approve", "1", "--by", "ada")
    assert project.perpetune("status")["champion"] == 1


def test_the_audit_holds_and_names_no_password(project: ProjectFolder, stack: Stack) -> None:
    audit = project.perpetune("audit")
    assert audit["holds"] is True, audit
    assert audit["log"].startswith("postgresql://perpetune")
    assert stack.database.password not in json.dumps(audit)


def test_the_watch_compares_with_the_stored_reference(project: ProjectFolder) -> None:
    watched = project.perpetune("watch")
    assert [window["drift"] for window in watched["windows"]] == [False, True]


def test_a_second_machine_finds_the_champion(
    project: ProjectFolder, stack: Stack, tmp_path: Path
) -> None:
    project.run("git", "clone", "-q", str(project.path), str(tmp_path / "clone"))
    clone = ProjectFolder(tmp_path / "clone", tmp_path / "prefect-home")
    clone.environment |= stack.environment | STORE
    clone.run("dvc", "pull", "-q", "data.dvc")
    assert clone.perpetune("status")["champion"] == 1
    found = clone.perpetune(
        "evaluate", "models:/tiny@champion", "--data", "data/benchmarks/held.jsonl"
    )
    assert found
