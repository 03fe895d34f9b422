"""What `perpetune up` deploys: prefect.yaml's deployments, for every model, with its parameters."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.forms import Request
from perpetune.platform import deployments
from tasks.core.errors import BadInput
from tasks.settings import load_settings
from tests.conftest import PROJECT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prefect.yaml").write_bytes((PROJECT / "prefect.yaml").read_bytes())
    (tmp_path / "other.yaml").write_text("project: {name: poems}\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/titles.yaml").write_text("project: {name: Titles}\n")
    return tmp_path


def request(*overrides: str) -> Request:
    settings = load_settings(Path("other.yaml"), overrides)
    return Request(settings, "other.yaml", list(overrides))


def derived(*overrides: str) -> dict[str, dict[str, Any]]:
    plain = YAML(typ="safe").load(deployments.derived(request(*overrides)))
    return {
        f"{item['entrypoint'].rpartition(':')[2]}/{item['name']}": item
        for item in plain["deployments"]
    }


def test_every_model_has_every_deployment(project: Path) -> None:
    names = {
        *("retrain/nightly", "retrain/on-drift", "watch/hourly", "housekeeping/weekly"),
        *("promote/on-demand", "forms/hourly"),
    }
    assert set(derived()) == names | {f"{name}-titles" for name in names}


def test_parameters_of_up_reach_every_deployment(project: Path) -> None:
    for name, item in derived("tune.max_steps=3").items():
        given = item["parameters"]
        assert (given["params"], given["overrides"]) == ("other.yaml", ["tune.max_steps=3"])
        assert given["model"] == ("titles" if name.endswith("-titles") else None)
    assert derived()["retrain/nightly"]["parameters"]["reason"] == "nightly"


def test_an_alarm_starts_the_round_of_its_model_with_its_settings(project: Path) -> None:
    found = derived()
    for name, model in (("on-drift", "poems"), ("on-drift-titles", "Titles")):
        (trigger,) = found[f"retrain/{name}"]["triggers"]
        assert trigger["expect"] == ["perpetune.drift.detected"]
        assert trigger["match"] == {"prefect.resource.id": f"perpetune.model.{model}"}
        assert set(trigger["parameters"]) == {"params", "overrides", "model", "reason", "alarm"}
        assert trigger["within"] > 0


def test_rounds_share_one_queue(project: Path) -> None:
    queues = {
        name: item["work_pool"].get("work_queue_name")
        for name, item in derived().items()
        if name.startswith("retrain/")
    }
    assert set(queues.values()) == {"training"}


def test_deployments_of_the_user_stay_as_they_are(project: Path) -> None:
    own = {"name": "mine", "entrypoint": "mine.py:flow", "work_pool": {"name": "perpetune"}}
    with (project / "prefect.yaml").open("w") as file:
        YAML().dump({"name": "perpetune", "deployments": [own]}, file)
    assert derived() == {"flow/mine": own}


@pytest.mark.parametrize("text", ["", "deployments: [", "deployments: {a: 1}", "deployments: [3]"])
def test_a_broken_file_is_named(project: Path, text: str) -> None:
    (project / "prefect.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"prefect\.yaml"):
        deployments.derived(request())


def test_a_file_is_written_when_something_has_changed(project: Path) -> None:
    assert deployments.write_deployments(request())
    assert not deployments.write_deployments(request())
    (project / "models/poems2.yaml").write_text("tune: {max_steps: 3}\n")
    assert deployments.write_deployments(request())
    assert "retrain/nightly-poems2" in deployments.deployment_names(request().settings)
