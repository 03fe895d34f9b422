"""What was trained as an MLflow model: its files, the code that serves it, and its base."""

import importlib.metadata
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model import base_source, machine
from tasks.model.chat_template import read_template
from tasks.settings import Settings

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

ADAPTER = "adapter"
SERVING = "serving"
_CODE = Path(__file__).with_name("served_model.py")
_MODEL = Path(base_source.__file__).parent
_NEEDED = ("mlflow", "torch", "transformers", "peft", "safetensors", "accelerate", "jinja2")


def save(adapter: Path, folder: Path, model: "LoggedModel", settings: Settings) -> Path:
    """Write the MLflow model of `adapter` into a new folder inside `folder`, and return that.

    Under an adapter the base model's weights stay out: the model names its base, where to find it
    and the SHA-256 that its files must have. A whole model's folder needs no base. What is stored
    imports nothing of Perpetune (`served_model`).

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
    base = None if whole else base_source.record(settings)
    # MLflow keeps an artifact under the name of its folder.
    copies = {ADAPTER: _copy(adapter, folder / ADAPTER)}
    copies[SERVING] = _serving(adapter, base, folder / SERVING)
    target = folder / "model"
    save_model(
        target,
        python_model=str(_CODE),
        artifacts={name: str(copy) for name, copy in copies.items()},
        model_config=_config(settings, base)
        | {name: files.sha256s(copy) for name, copy in copies.items()},
        pip_requirements=_requirements(settings, base),
        mlflow_model=Model(
            artifact_path=model.artifact_location,
            run_id=model.source_run_id,
            model_uuid=model.model_id,
            model_id=model.model_id,
        ),
    )
    return target


def _config(settings: Settings, base: base_source.BaseRecord | None) -> dict[str, Any]:
    template = settings.base.chat_template
    return {
        "whole": base is None,
        "base": base and base.to_json(),
        # Whoever serves may say where the base is there.
        "base_folder": None,
        "dtype": str(machine.compute_dtype(settings.base)).removeprefix("torch."),
        "quantisation": settings.base.quantisation,
        "trust_remote_code": settings.base.trust_remote_code,
        # A template of the user's own is kept as text: where the model is served, the file may
        # not be.
        "chat_template": None if template is None else read_template(template),
        "max_new_tokens": settings.evaluate.max_new_tokens,
        "batch_size": settings.evaluate.batch_size,
    }


def _copy(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    files.make_readable(target)
    return target


def _serving(adapter: Path, base: base_source.BaseRecord | None, target: Path) -> Path:
    """The standalone modules that serving this model takes."""
    names = ["decoder.py"]
    if base and base.gguf:
        names.append("gguf.py")
    config = adapter / "adapter_config.json"
    if config.is_file() and files.read_json(config).get("peft_type") == "BOTTLENECK":
        names.append("bottleneck.py")
    for name in names:
        files.write_text(target / name, (_MODEL / name).read_text(encoding="utf-8"))
    files.make_readable(target)
    return target


def _requirements(settings: Settings, base: base_source.BaseRecord | None) -> list[str]:
    """What has to be installed, without the package that is the base (`--no-deps`, often)."""
    names = [*_NEEDED]
    if base and base.gguf:
        names.append("gguf")
    if settings.base.quantisation:
        names.append("bitsandbytes")
    # "2.13.0+cpu" names a build for one machine, which the next may not have.
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in names]
