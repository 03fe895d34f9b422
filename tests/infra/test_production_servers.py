"""The main job on PostgreSQL and S3, by settings and environment alone, with accounts in MLflow.

The tests of this file follow one another. They need an object store; see `tests.infra.servers`.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.infra.servers import SCRIPTS, Postgres, object_store_program, postgres, running
from tests.platform import free_port
from tests.project import ProjectFolder, make_project

pytestmark = pytest.mark.slow

BACKUP = Path(__file__).parents[2] / "infra/backup"
ADMIN = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "a-long-password"}
STORE = {
    "AWS_ACCESS_KEY_ID": "perpetune",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-object-store",
    "AWS_DEFAULT_REGION": "us-east-1",
}
PREFECT_AUTH = "perpetune:prefect-password"
DATABASES = ("decisions", "mlflow", "mlflow_accounts", "prefect")
BUCKETS = ("mlflow", "dvc")


class Stack:
    """The servers of production on one machine, and the environment that leads to them."""

    def __init__(self, folder: Path, exits: ExitStack) -> None:
        program = object_store_program()
        if importlib.util.find_spec("boto3") is None:
            pytest.skip("boto3 is not installed: MLflow's server keeps artifacts in S3 through it")
        self.database: Postgres = exits.enter_context(postgres())
        self.database.create(*DATABASES)
        folder.mkdir()
        self._folder, self._exits = folder, exits
        store = [program, "-p"]
        self.store_url = self._serve("s3", lambda port: [*store, str(port)], {}, "/moto-api/")
        for bucket in BUCKETS:
            request = urllib.request.Request(f"{self.store_url}/{bucket}", method="PUT")
            urllib.request.urlopen(request, timeout=20).close()
        self.mlflow_url = self._mlflow()
        self.prefect_url = self._prefect()

    @property
    def environment(self) -> dict[str, str]:
        """Of a command and of a worker."""
        return (
            ADMIN
            | STORE
            | {
                "MLFLOW_TRACKING_URI": self.mlflow_url,
                "PREFECT_API_URL": f"{self.prefect_url}/api",
                "PREFECT_API_AUTH_STRING": PREFECT_AUTH,
                "PGPASSWORD": self.database.password,
            }
        )

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

    def add_account(self, name: str, password: str) -> None:
        """An account that may move the aliases of the model, and read everything else."""
        from mlflow.server import get_app_client

        with pytest.MonkeyPatch.context() as patch:
            for variable, value in ADMIN.items():
                patch.setenv(variable, value)
            client = get_app_client("basic-auth", tracking_uri=self.mlflow_url)
            client.create_user(name, password)
            client.grant_user_permission(name, "registered_model", "tiny", "MANAGE")

    def _mlflow(self) -> str:
        accounts = self._folder / "accounts.ini"
        accounts.write_text(
            "[mlflow]\ndefault_permission = READ\n"
            f"database_uri = {self.database.url('mlflow_accounts')}\n"
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
            "mlflow", lambda port: [*server, "--port", str(port)], environment, "/health"
        )

    def _prefect(self) -> str:
        environment = {
            "PREFECT_HOME": str(self._folder / "prefect"),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.database.url(
                "prefect", "postgresql+asyncpg"
            ),
            "PGPASSWORD": self.database.password,
            "PREFECT_SERVER_API_AUTH_STRING": PREFECT_AUTH,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        server = [f"{SCRIPTS}/prefect", "server", "start", "--port"]
        return self._serve("prefect", lambda port: [*server, str(port)], environment, "/api/health")

    def _serve(
        self,
        name: str,
        command: Callable[[int], list[str]],
        environment: Mapping[str, str],
        ready: str,
    ) -> str:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        whole = {**os.environ, **environment}
        self._exits.enter_context(running(name, command(port), whole, self._folder, url + ready))
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
    settings["sweep"]["trials"] = 2
    yaml.dump(settings, made.path / "params.yaml")
    made.run("dvc", "remote", "add", "-d", "store", "s3://dvc/cache")
    made.run("dvc", "remote", "modify", "store", "endpointurl", stack.store_url)
    made.run("git", "commit", "-qam", "Production")
    return made


@pytest.fixture(scope="module")
def ran(project: ProjectFolder) -> dict:
    """What the round printed, after the deployments were made known."""
    assert "retrain/nightly" in project.perpetune("deploy")["deployments"]
    return project.perpetune("run")


def test_a_round_brings_a_candidate(project: ProjectFolder, stack: Stack, ran: dict) -> None:
    assert ran["version"] == 1
    assert (ran["status"]["challenger"], ran["status"]["warnings"]) == (1, [])
    assert ran["links"]["form"].startswith(stack.prefect_url)
    # Nothing of the registry is in the project: artifacts are in the object store.
    assert not (project.path / ".perpetune/mlflow.db").exists()
    assert not (project.path / ".perpetune/mlartifacts").exists()
    kept = stack.objects("mlflow")
    assert any(key.endswith("artifacts/adapter/adapter_model.safetensors") for key in kept)
    assert any(key.endswith("evaluate/review.html") for key in kept)


def test_an_account_approves_and_the_audit_holds(
    project: ProjectFolder, stack: Stack, ran: dict
) -> None:
    del ran
    refused = project.perpetune("approve", "1", "--by", "Grace", exit_code=3)
    assert "knows you as ada" in refused["error"]
    # Whoever decides needs no more than this one right.
    stack.add_account("grace", "another-password")
    administrator = dict(project.environment)
    project.environment |= {
        "MLFLOW_TRACKING_USERNAME": "grace",
        "MLFLOW_TRACKING_PASSWORD": "another-password",
    }
    assert project.perpetune("approve", "1", "--by", "Grace")["identity"] == "authenticated"
    project.environment = administrator
    audit = project.perpetune("audit")
    assert audit["holds"] is True, audit["problems"]
    assert audit["log"] == stack.database.url("decisions")


def test_a_second_machine_has_data_and_champion(
    project: ProjectFolder, stack: Stack, tmp_path: Path
) -> None:
    project.run("dvc", "push", "-q", "data.dvc")
    assert stack.objects("dvc")
    project.run("git", "clone", "-q", str(project.path), str(tmp_path / "clone"))
    clone = ProjectFolder(tmp_path / "clone", tmp_path / "prefect-home")
    clone.environment |= stack.environment
    clone.run("dvc", "pull", "-q", "data.dvc")
    data = "data/benchmarks/held.jsonl"
    champion = ("models:/tiny@champion", "--data", data, "--set", "evaluate.max_generations=0")
    assert clone.perpetune("evaluate", *champion)["benchmarks"]["held"]["examples"] == 48


def test_the_watch_finds_the_drifted_window(project: ProjectFolder) -> None:
    watched = project.perpetune("watch")
    assert [window["drift"] for window in watched["windows"]] == [False, True]


def test_a_backup_brings_everything_back(
    project: ProjectFolder, stack: Stack, tmp_path: Path
) -> None:
    if shutil.which("rclone") is None:
        pytest.skip("rclone is not installed")
    before = project.perpetune("audit")
    environment = os.environ | STORE | stack.database.environment
    environment |= {
        "RCLONE_CONFIG": str(tmp_path / "rclone.conf"),
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORE_ENV_AUTH": "true",
        "RCLONE_CONFIG_STORE_ENDPOINT": stack.store_url,
    }
    environment.pop("AWS_CA_BUNDLE", None)  # rclone before 1.61 fails of it

    def run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = run("bash", BACKUP / "backup.sh", tmp_path / "backups")
    assert done.returncode == 0, done.stderr
    (kept,) = (path.parent for path in (tmp_path / "backups").glob("*/MANIFEST"))
    refused = run("bash", BACKUP / "restore.sh", kept)
    assert (refused.returncode, "is not empty" in refused.stderr) == (2, True)

    for name in DATABASES:
        stack.database.run("dropdb", "--force", name)
    stack.database.create(*DATABASES)
    for bucket in BUCKETS:
        assert run("rclone", "purge", f"store:{bucket}").returncode == 0
    done = run("bash", BACKUP / "restore.sh", kept)
    assert done.returncode == 0, done.stderr
    after = project.perpetune("audit")
    assert after["holds"] is True, after["problems"]
    assert after["head"] == before["head"]
    assert json.dumps(after["entries"]) == json.dumps(before["entries"])
