"""LoRA's forward pass with fewer passes over memory than PEFT's own, for one adapter or several.

On a float16 or bfloat16 base, PEFT computes the update in float32, scales it, adds it and casts the
sum back, each a pass over the activations. Here the adapter's float32 weights are cast to the type
of the activations, as autocast does it, and one matrix product adds the update to the frozen
layer's output. In float32 the result is PEFT's own.

Several active adapters are lanes: the row of tokens falls into as many equal parts, and each part
goes through the frozen layer with its own adapter, whose rank may differ from its neighbours'. Each
lane's products are those of an adapter alone, so that a lane trains as it would alone. (Where PEFT
is given several active adapters, it adds all of them to every token; here that has no use.)
"""

from types import MethodType
from typing import cast

import peft
import torch
from peft import PeftModel
from peft.tuners.lora import Linear


def fuse(model: PeftModel) -> None:
    """Give the plain LoRA layers of `model` the quick forward; other layers keep their own."""
    # PEFT's module of 4-bit layers imports bitsandbytes, which takes a second.
    in_4bit = getattr(model.get_base_model(), "is_loaded_in_4bit", False)
    kinds = (Linear, peft.tuners.lora.Linear4bit) if in_4bit else (Linear,)
    for module in model.modules():
        if (
            isinstance(module, kinds)
            and "forward" not in vars(module)
            and not module.lora_variant
            and not any(module.lora_bias.values())
        ):
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]


def _forward(layer: Linear, x: torch.Tensor) -> torch.Tensor:
    if layer.disable_adapters or layer.merged:
        return type(layer).forward(layer, x)
    rows = x.flatten(0, -2)
    out = layer.base_layer(rows)
    names = layer.active_adapters
    if len(names) == 1:
        out = _updated(layer, names[0], rows, out)
    else:
        lanes = zip(names, rows.chunk(len(names)), out.chunk(len(names)), strict=True)
        out = torch.cat([_updated(layer, *lane) for lane in lanes])
    return out.unflatten(0, x.shape[:-1])


def _updated(layer: Linear, name: str, rows: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    if name not in layer.lora_A:  # lanes may differ in their target modules
        return out
    down, up = (
        cast(torch.Tensor, each[name].weight).to(rows.dtype)
        for each in (layer.lora_A, layer.lora_B)
    )
    inner = layer.lora_dropout[name](rows) @ down.T
    # Parts of a whole cannot be changed in place, as autograd has it.
    add = torch.addmm if out._is_view() else torch.Tensor.addmm_
    return add(out, inner, up.T, alpha=layer.scaling[name])
