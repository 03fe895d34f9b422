"""The production stack's files: valid by their schemas, pinned, without secrets, in agreement."""

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from perpetune.platform.metrics import FAMILIES

PROJECT = Path(__file__).parents[2]
INFRA = PROJECT / "infra"
COMPOSE = INFRA / "compose"
MANIFESTS = sorted((INFRA / "kubernetes/manifests").glob("*.yaml"))
VALUES = sorted((INFRA / "kubernetes/values").glob("*.yaml"))
KUBERNETES = kubernetes_validate.latest_version()
# Kinds of operators, of which kubernetes-validate has no schemas.
CUSTOM = {"ServiceMonitor", "PrometheusRule", "Kustomization"}
SECRET = re.compile(r"PASSWORD|SECRET|AUTH_STRING|TOKEN|CREDENTIAL|_KEY$")
METRIC = re.compile(r"\bperpetune_[a-z0-9_]+")


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def documents(path: Path) -> list[dict[str, Any]]:
    return [item for item in YAML(typ="safe").load_all(path) if item]


def environments(node: Any) -> list[dict[str, Any]]:
    """Every mapping or list of variables in a file, as a mapping from name to value."""
    found: list[dict[str, Any]] = []
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("environment", "data") and isinstance(value, dict):
                found.append(value)
            elif key in ("env", "containerEnv") and isinstance(value, list):
                found.append({item["name"]: item.get("value") for item in value})
            found += environments(value)
    elif isinstance(node, list):
        for item in node:
            found += environments(item)
    return found


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return load(COMPOSE / "compose.yaml")


def test_the_compose_file_is_valid() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(COMPOSE / "compose.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_service_that_stays_says_whether_it_is_well(compose: dict[str, Any]) -> None:
    stays = {
        name: service
        for name, service in compose["services"].items()
        if service.get("restart") != "no"
    }
    assert {"postgres", "object-store", "prefect", "mlflow", "worker"} <= stays.keys()
    assert [name for name, service in stays.items() if "healthcheck" not in service] == ["proxy"]


def test_only_the_proxy_is_reached_from_outside(compose: dict[str, Any]) -> None:
    ports = [name for name, service in compose["services"].items() if "ports" in service]
    assert ports == ["proxy"]
    assert compose["networks"]["inside"]["internal"] is True


def test_images_have_one_version() -> None:
    images = [
        service["image"]
        for service in load(COMPOSE / "compose.yaml")["services"].values()
        if not service["image"].startswith("${")
    ]
    images += re.findall(r"^FROM (\S+)", (INFRA / "image/Dockerfile").read_text(), re.MULTILINE)
    assert len(images) >= 7
    assert [image for image in images if not re.search(r":v?\d+\.\d+(\.\d+)?(-|$)", image)] == []


def test_our_image_runs_as_nobody_special() -> None:
    lines = (INFRA / "image/Dockerfile").read_text().splitlines()
    user = [line for line in lines if line.startswith("USER ")]
    assert user == ["USER 10001:10001"]
    assert not [line for line in lines if line.startswith(("ENV", "ARG")) and SECRET.search(line)]


@pytest.mark.parametrize(
    "path",
    [COMPOSE / "compose.yaml", *MANIFESTS, *VALUES],
    ids=lambda path: path.name,
)
def test_no_secret_is_written_down(path: Path) -> None:
    for variables in (found for item in documents(path) for found in environments(item)):
        for name, value in variables.items():
            if SECRET.search(name) and not name.endswith("_FILE") and name != "MLFLOW_AUTH_CONFIG":
                assert value is None, f"{name} in {path.name}"


def test_every_secret_is_made_once(compose: dict[str, Any], tmp_path: Path) -> None:
    shutil.copy(COMPOSE / "secrets.sh", tmp_path)
    subprocess.run(["bash", tmp_path / "secrets.sh"], check=True, capture_output=True)
    folder = tmp_path / "secrets"
    made = {path.name: path.read_text() for path in folder.iterdir()}
    wanted = {Path(item["file"]).name for item in compose["secrets"].values()}
    assert made.keys() == wanted
    used = {name for service in compose["services"].values() for name in service.get("secrets", ())}
    assert used == compose["secrets"].keys()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # In an address, a password of these signs needs no escapes.
    passwords = [text for name, text in made.items() if name.endswith(("-database", "-password"))]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{40,}", text) for text in passwords)
    assert len(set(made.values())) == len(made)
    store = json.loads(made["object-store-accounts"])["identities"][0]["credentials"][0]
    assert store["secretKey"] in made["object-store"]
    subprocess.run(["bash", tmp_path / "secrets.sh"], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


def test_what_the_compose_file_asks_for_is_in_the_template() -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    template = (COMPOSE / ".env.example").read_text()
    given = set(re.findall(r"^(\w+)=", template, re.MULTILINE))
    assert asked == given
    assert not SECRET.search("\n".join(given))


def test_git_sees_no_secrets() -> None:
    for name in ("secrets/postgres-admin", ".env"):
        done = subprocess.run(
            ["git", "check-ignore", "-q", str(COMPOSE / name)], cwd=PROJECT, check=False
        )
        assert done.returncode == 0, name


def test_secrets_come_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("p $x'\"%@ss\n")
    script = ["sh", str(INFRA / "image/entrypoint.sh"), sys.executable, "-c"]
    code = "import os; print(os.environ['PGPASSWORD'], end='')"
    given = {"PGPASSWORD_FILE": str(secret)}
    done = subprocess.run([*script, code], env=given, capture_output=True, text=True, check=True)
    assert done.stdout == "p $x'\"%@ss"
    given = {"PGPASSWORD_FILE": str(tmp_path / "none")}
    done = subprocess.run([*script, code], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "PGPASSWORD_FILE" in done.stderr


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_valid(path: Path) -> None:
    found = documents(path)
    assert found
    for item in found:
        if item["kind"] not in CUSTOM:
            kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_all_manifests_are_applied() -> None:
    (chosen,) = documents(INFRA / "kubernetes/manifests/kustomization.yaml")
    others = {path.name for path in MANIFESTS} - {"kustomization.yaml"}
    assert set(chosen["resources"]) == others


def test_containers_of_ours_may_do_little() -> None:
    pods = [spec for path in MANIFESTS for item in documents(path) for spec in _pods(item)]
    assert len(pods) == 2
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]


def _pods(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        inside = [pod for value in node.values() for pod in _pods(value)]
        return [*([node] if "containers" in node else []), *inside]
    if isinstance(node, list):
        return [pod for item in node for pod in _pods(item)]
    return []


def metrics_in(text: str) -> set[str]:
    return set(METRIC.findall(text))


def test_every_metric_that_is_shown_or_watched_exists() -> None:
    rules = INFRA / "prometheus/rules.yaml"
    dashboard = INFRA / "grafana/dashboards/perpetune.json"
    alerts = [alert for group in load(rules)["groups"] for alert in group["rules"]]
    asked = {name for alert in alerts for name in metrics_in(alert["expr"])}
    panels = json.loads(dashboard.read_text())["panels"]
    shown = {
        name
        for panel in panels
        for target in panel.get("targets", ())
        for name in metrics_in(target["expr"])
    }
    assert asked <= FAMILIES.keys()
    assert shown == FAMILIES.keys()


def test_labels_that_are_asked_for_exist() -> None:
    text = (INFRA / "prometheus/rules.yaml").read_text()
    text += (INFRA / "grafana/dashboards/perpetune.json").read_text()
    for name, selector in re.findall(r"(perpetune_[a-z_]+)\{([^}]*)\}", text):
        assert {label for label, _ in re.findall(r"(\w+)(=~?)", selector)} <= {
            *FAMILIES[name].labels
        }


def test_alerts_of_the_cluster_are_those_of_the_compose_file() -> None:
    (rule,) = [
        item
        for item in documents(INFRA / "kubernetes/manifests/monitoring.yaml")
        if item["kind"] == "PrometheusRule"
    ]
    assert rule["spec"]["groups"] == load(INFRA / "prometheus/rules.yaml")["groups"]


def test_prometheus_takes_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    config = INFRA / "prometheus/prometheus.yaml"
    done = subprocess.run([promtool, "check", "config", config], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "path", sorted(INFRA.rglob("*.sh")), ids=lambda path: str(path.relative_to(INFRA))
)
def test_a_script_is_one_that_its_shell_takes(path: Path) -> None:
    shell = "bash" if "bash" in path.read_text().partition("\n")[0] else "sh"
    subprocess.run([shell, "-n", path], check=True)
    shellcheck = shutil.which("shellcheck")
    if shellcheck is not None:
        done = subprocess.run([shellcheck, path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
