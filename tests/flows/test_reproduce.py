"""A registered version made again: real git, DVC, MLflow and a tiny real model."""

import pytest

from tasks.core import files
from tests.project import ProjectFolder


@pytest.fixture(scope="module")
def ran(project: ProjectFolder) -> dict:
    """A round in a project whose working tree is not what was committed."""
    params = project.path / "params.yaml"
    params.write_text(params.read_text().replace("max_steps: 16", "max_steps: 12"))
    return project.perpetune("run")


def test_a_round_records_what_its_version_was_made_of(project: ProjectFolder, ran: dict) -> None:
    recipe = files.read_json(project.path / ran["folder"] / "recipe/recipe.json")
    assert recipe["round"] == ran["round"]
    assert recipe["source"]["changed"] == ["dvc.lock", "params.yaml"]
