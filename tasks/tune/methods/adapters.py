"""Adapters that PEFT puts into a base model's layers, and how each of them becomes a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTuner
from safetensors.torch import save_file

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model import peft_adapter
from tasks.settings import Settings
from tasks.tune.methods.contract import AdaptedModel, Weights, size

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PeftAdapter(AdaptedModel):
    """One adapter of a PEFT model that may hold others."""

    def __init__(self, model: PeftModel, name: str = "default") -> None:
        self.model = model
        self.name = name
        self.network: torch.nn.Module = model

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The adapter's own parameters, its name left out of theirs."""
        return {
            ".".join(part for part in name.split(".") if part != self.name): parameter
            for name, parameter in self.model.named_parameters()
            if self.name in name.split(".") and parameter.is_floating_point()
        }

    def counts(self) -> tuple[int, int]:
        """The adapter's parameters, and those of the base with this adapter alone."""
        adapters = set(self.model.peft_config)
        base = {
            id(parameter): size(parameter)
            for name, parameter in self.model.named_parameters()
            if not adapters & set(name.split("."))
        }
        own = sum(parameter.numel() for parameter in self.parameters().values())
        return own, sum(base.values()) + own

    def export(self) -> dict[str, torch.Tensor]:
        """The weights under PEFT's names."""
        # Asked for "auto", PEFT looks the base model up on the hub.
        weights = get_peft_model_state_dict(
            self.model, adapter_name=self.name, save_embedding_layers=False
        )
        return {name: weight.detach().cpu().clone() for name, weight in weights.items()}

    def write(self, folder: Path, weights: Weights, settings: Settings) -> None:
        """A plain PEFT adapter folder, which names the base as `params.yaml` does."""
        config: dict[str, Any] = self.model.peft_config[self.name].to_dict() | {
            "base_model_name_or_path": settings.base.model,
            "revision": settings.base.revision,
            "inference_mode": True,
        }
        # PEFT keeps module names as a set, whose order changes from process to process.
        plain = {
            key: sorted(value) if isinstance(value, set) else value for key, value in config.items()
        }
        with files.atomic_folder(folder) as building:
            save_file(dict(weights), building / "adapter_model.safetensors", {"format": "pt"})
            files.write_json(building / "adapter_config.json", plain)
            files.write_json(building / "base.json", peft_adapter.note_base(settings))


@contextmanager
def peft_model(base: "PreTrainedModel", config: PeftConfig) -> Iterator[PeftModel]:
    """`base` with a fresh adapter named `default`; afterwards the base is what it was.

    Raises:
        BadInput: the base has no module that the configuration names.
    """
    trainable = {parameter: parameter.requires_grad for parameter in base.parameters()}
    try:
        model = get_peft_model(base, config)
    except ValueError as error:
        raise BadInput(_refusal(base, error)) from error
    try:
        yield model
    finally:
        # Not `unload`, which IA³ refuses on quantised weights as if it were to merge.
        tuner = cast(BaseTuner, model.base_model)
        BaseTuner._unload_and_optionally_merge(tuner, merge=False)
        for parameter, was in trainable.items():
            parameter.requires_grad_(was)


def _refusal(base: "PreTrainedModel", error: ValueError) -> str:
    if "ParamWrapper" not in str(error):
        return f"tune.method.target_modules: {error}"
    what = (
        "tune.method.dropout: no dropout"
        if "dropout" in str(error)
        else "tune.method: plain LoRA only"
    )
    return (
        f"{what} fits the experts of {type(base).__name__}, whose weights are one tensor; set "
        "tune.method.dropout to 0 and tune.method to lora, or tune.method.target_modules to qkvo"
    )
