"""What tests of tasks share beyond tests/conftest.py: an MLflow database that is ready to use."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.settings import Settings


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: MLflow takes seconds to create one, a copy takes none."""
    from tasks.registry.connection import _create

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    _create(path)
    return path


@pytest.fixture
def new_project(
    mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Settings]:
    """Settings of a new project, in a state folder of its own with an empty database."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    count = iter(range(10_000))

    def make(**sections: dict) -> Settings:
        state = tmp_path / f"state {next(count)}"
        state.mkdir()
        shutil.copy(mlflow_database, state / "mlflow.db")
        project = {"name": "tiny.model", "state_dir": str(state)}
        return Settings.model_validate({**sections, "project": project})

    return make


@pytest.fixture
def plain_adapter(tmp_path: Path) -> Path:
    """A PEFT adapter folder as far as files go, without a base model and without torch."""
    import numpy as np
    from safetensors.numpy import save_file

    folder = tmp_path / "best"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4}')
    save_file({"lora_A": np.ones((4, 8), np.float32)}, folder / "adapter_model.safetensors")
    return folder
