"""A PEFT adapter on disk: put on the base model that it was made for, and on no other."""

import logging
import warnings
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.core.errors import BadInput, first_line
from tasks.model.base_source import locate
from tasks.model.weights import check_complete
from tasks.settings import Settings

log = logging.getLogger(__name__)

_MADE_FOR = "base.json"


def load_adapter(model: Any, adapter: Path) -> Any:
    """Put the PEFT adapter at `adapter` on `model`.

    Raises:
        BadInput: the folder is no adapter, is pickled or damaged, or does not fit the model.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    if not (adapter / "adapter_config.json").is_file():
        raise BadInput(f"{adapter}: no adapter_config.json; name a PEFT adapter folder")
    if not (adapter / "adapter_model.safetensors").is_file():
        raise BadInput(f"{adapter}: no adapter_model.safetensors; pickled weights are refused")
    try:
        if files.read_json(adapter / "adapter_config.json").get("peft_type") == "BOTTLENECK":
            import tasks.model.bottleneck  # noqa: F401 makes it known to PEFT
        with warnings.catch_warnings():
            # Of missing tensors, which are an error below.
            warnings.filterwarnings("ignore", "Found missing adapter keys")
            adapted = PeftModel.from_pretrained(model, str(adapter))
    except SafetensorError as error:
        raise BadInput(f"{adapter}: the weights are damaged: {error}") from error
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{adapter}: does not fit this base model: {first_line(error)}") from error
    _check_adapter(adapted, adapter)
    return adapted


def _check_adapter(model: Any, adapter: Path) -> None:
    """Refuse an adapter that has not exactly the tensors which its configuration asks for."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
        held = set(file.keys())
    wanted = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    # PEFT may save the base's embeddings with an adapter that changes the vocabulary.
    base = {f"base_model.model.{name}" for name, _ in model.get_base_model().named_parameters()}
    check_complete(str(adapter), wanted - held, held - wanted - base, ())


def note_base(settings: Settings) -> dict[str, str]:
    """What an adapter's `base.json` says: the base as it was named, and its fingerprint."""
    return {"model": settings.base.model, "fingerprint": fingerprint(locate(settings))}


def fingerprint(folder: Path) -> str:
    """A hash of a sample of each tensor in a model's folder.

    It is the same however the tensors are spread over files, and in bfloat16 as in float32; it
    takes milliseconds whatever the size.
    """
    import torch
    from safetensors import safe_open

    parts = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                part = file.get_slice(name)
                shape = part.get_shape()
                sample = (part[:1] if shape else file.get_tensor(name)).flatten()[:64]
                values = sample.to(torch.bfloat16).view(torch.int16).tolist()
                parts.append([name, shape, values])
    return files.content_key(sorted(parts))


def check_made_for(adapter: Path, settings: Settings) -> None:
    """Refuse an adapter of another base; where that cannot be known, say what it was made for.

    Raises:
        BadInput: its base has other weights.
    """
    path = adapter / "adapter_config.json"
    if not path.is_file():
        return  # loading says so
    noted = adapter / _MADE_FOR
    made_for = files.read_json(path).get("base_model_name_or_path") or ""
    own = locate(settings)
    if noted.is_file():
        note = files.read_json(noted)
        made_for, before = str(note.get("model", made_for)), note.get("fingerprint")
    elif Path(made_for).is_dir() and any(Path(made_for).glob("*.safetensors")):
        before = fingerprint(Path(made_for))
    else:
        if made_for and made_for != settings.base.model:
            log.warning(
                "%s: its adapter_config.json says that it was made for %s; it is put on %s",
                adapter,
                made_for,
                settings.base.model,
            )
        return
    if before != fingerprint(own):
        raise BadInput(
            f"{adapter}: this adapter was made for another base model ({made_for or 'unnamed'}), "
            f"whose weights are not those of {settings.base.model}; set base.model to that one"
        )
