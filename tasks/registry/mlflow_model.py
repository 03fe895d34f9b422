"""What was trained as an MLflow model: its files, the code that serves it, and its base."""

import importlib.metadata
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import BadInput
from tasks.model import base_source
from tasks.model.chat_template import read_template
from tasks.settings import Settings

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

ADAPTER = "adapter"
ADAPTER_IN_MODEL = f"artifacts/{ADAPTER}"
_CODE = Path(__file__).with_name("served_adapter.py")
_NEEDED = ("mlflow", "torch", "transformers", "peft", "safetensors", "accelerate", "gguf")


def save(adapter: Path, folder: Path, model: "LoggedModel", settings: Settings) -> Path:
    """Write the MLflow model of `adapter` into a new folder inside `folder`, and return that.

    Under an adapter the base model's weights stay out: the model names its base, by the settings
    that find it and by the identity that it must have. A whole model's folder needs no base.

    Raises:
        BadInput: `adapter` is neither a plain PEFT adapter folder nor a whole model's.
    """
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    whole = (adapter / "config.json").is_file()
    needed = ("*.safetensors",) if whole else ("adapter_config.json", "adapter_model.safetensors")
    for name in needed:
        if not any(adapter.glob(name)):
            raise BadInput(f"{adapter}: no {name}; name a folder that training wrote")
    quantised = ("bitsandbytes",) if settings.base.quantisation else ()
    # MLflow keeps an artifact under the name of its folder.
    copy = Path(shutil.copytree(adapter, folder / ADAPTER))
    target = folder / "model"
    # A template of the user's own is kept as text: where the model is served, the file may not be.
    template = settings.base.chat_template
    base = settings.base.replace(chat_template=None)
    save_model(
        target,
        python_model=str(_CODE),
        artifacts={ADAPTER: str(copy)},
        model_config={
            "base": base.model_dump(mode="json"),
            "base_identity": base_source.identity(settings.replace(base=base)),
            "chat_template": None if template is None else read_template(template),
            "state_dir": str(settings.project.state_dir),
            "max_new_tokens": settings.evaluate.max_new_tokens,
        },
        pip_requirements=[f"{name}=={_public_version(name)}" for name in _NEEDED + quantised],
        mlflow_model=Model(
            artifact_path=model.artifact_location,
            run_id=model.source_run_id,
            model_uuid=model.model_id,
            model_id=model.model_id,
        ),
    )
    return target


def _public_version(name: str) -> str:
    # "2.13.0+cpu" names a build for one machine, which the next may not have.
    return importlib.metadata.version(name).partition("+")[0]
