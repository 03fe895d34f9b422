"""Which modules an adapter goes into, by words that hold for every architecture."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers.pytorch_utils import Conv1D

from tasks.core.errors import BadInput
from tasks.tune.methods.settings import Targets

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# How architectures call the parts of attention: one projection each, or fused ones.
_PARTS = {
    "q": r"q_proj|query|wq|q_lin|to_q",
    "k": r"k_proj|key|wk|k_lin|to_k",
    "v": r"v_proj|value|wv|v_lin|to_v",
    "o": r"o_proj|out_proj|dense|wo|out_lin|to_out",
}
# As PEFT knows them (`_check_lora_target_modules_mamba`).
_MAMBA = {"falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h"}
_FUSED = r"c_attn|qkv_proj|query_key_value|Wqkv|qkv"


def target_modules(base: "PreTrainedModel", targets: Targets) -> str | list[str]:
    """`targets` as PEFT takes them: `all-linear`, or the last parts of modules' names.

    Raises:
        BadInput: the base's attention has no such projections under a known name, or there is no
            layer for one of the names.
    """
    if isinstance(targets, list):
        _check_names(base, targets)
        return targets
    if targets not in ("qv", "qkvo"):
        return targets
    inside = {
        name.rpartition(".")[2]
        for name, _ in base.named_modules()
        if re.search(r"attn|attention", name, re.IGNORECASE)
    }
    found = {name for part in targets for name in inside if re.fullmatch(_PARTS[part], name)} | {
        name for name in inside if re.fullmatch(_FUSED, name)
    }
    if not found:
        raise BadInput(
            f"tune.method.target_modules: {targets} has no projection of a known name in "
            f"{type(base).__name__}; name the modules, as in [c_attn]"
        )
    return sorted(found)


def all_linear(base: "PreTrainedModel", targets: Targets) -> bool:
    """Whether an adapter goes into linear layers only: no others can be shared by lanes."""
    return not isinstance(targets, list) or not any(
        isinstance(module, torch.nn.Embedding)
        for key, module in base.named_modules()
        for name in targets
        if f".{key}".endswith(f".{name}")
    )


def excluded_modules(base: "PreTrainedModel", targets: Targets) -> list[str] | None:
    """What `all-linear` leaves out: layers that are linear by their class and not by what they do
    (routers of experts that give scores and choices), and those of state spaces whose weights go
    into a kernel past any adapter, where PEFT refuses them. None where there is none."""
    if targets != "all-linear":
        return None
    found = {
        name
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear)
        and type(module).__module__.startswith("transformers.models.")
        and not _is_linear(module)
    }
    if base.config.model_type in _MAMBA:
        return sorted({"out_proj", "conv1d", *found})
    others = {name.rpartition(".")[2] for name, _ in base.named_modules() if name not in found}
    ends = {name.rpartition(".")[2] for name in found}
    return sorted(found if ends & others else ends) or None


@torch.no_grad()
def _is_linear(layer: torch.nn.Linear) -> bool:
    """Whether a layer of an architecture's own class gives what a linear one would."""
    given = layer.weight.new_zeros(1, layer.in_features)
    output = layer(given)
    return isinstance(output, torch.Tensor) and output.shape[-1] == layer.out_features


def closest(name: str, known: Iterable[str]) -> str:
    """What somebody who wrote `name` may have meant, and all that there is."""
    every = sorted(set(known))
    found = difflib.get_close_matches(name, every, n=1)
    meant = f"did you mean {found[0]}? " if found else ""
    return f"{meant}it has {', '.join(every)}"


def _check_names(base: "PreTrainedModel", names: Sequence[str]) -> None:
    modules = dict(base.named_modules())
    for name in names:
        found = [module for key, module in modules.items() if f".{key}".endswith(f".{name}")]
        if found and all(isinstance(module, _ADAPTABLE) for module in found):
            continue
        layers = {
            key.rpartition(".")[2] for key, module in modules.items() if _is_layer(key, module)
        }
        what = "is no layer with weights of its own" if found else "is the name of no module"
        hint = (
            f"write target_modules: {name}, without brackets"
            if name in ("all-linear", "qv", "qkvo")
            else closest(name, layers)
        )
        raise BadInput(
            f"tune.method.target_modules: {name!r} {what} of {type(base).__name__}; {hint}"
        )
    if not names:
        raise BadInput(
            "tune.method.target_modules: names nothing; name modules, or write all-linear"
        )


# Of an adapted base, which further lanes go into, too.
_ADAPTABLE = (torch.nn.Linear, torch.nn.Embedding, Conv1D, BaseTunerLayer)


def _is_layer(name: str, module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear | Conv1D) and not re.search(
        r"\.lora_|\.base_layer$", name
    )
