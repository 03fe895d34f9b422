"""LoRA's forward pass with fewer passes over memory than PEFT's own.

On a float16 or bfloat16 base, PEFT computes the update in float32, scales it, adds it and casts the
sum back, each a pass over the activations. Here the adapter's float32 weights are cast to the type
of the activations, as autocast does it, and one matrix product adds the update to the frozen
layer's output. In float32 the result is PEFT's own.
"""

from types import MethodType
from typing import cast

import torch
from peft import PeftModel
from peft.tuners.lora import Linear


def fuse(model: PeftModel) -> None:
    """Give the plain LoRA layers of `model` the quick forward; other layers keep their own."""
    for module in model.modules():
        if (
            type(module) is Linear
            and not module.lora_variant
            and not any(module.lora_bias.values())
        ):
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]


def _forward(layer: Linear, x: torch.Tensor) -> torch.Tensor:
    if layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1:
        return Linear.forward(layer, x)
    name = layer.active_adapters[0]
    down = cast(torch.Tensor, layer.lora_A[name].weight).to(x.dtype)
    up = (layer.scaling[name] * cast(torch.Tensor, layer.lora_B[name].weight)).to(x.dtype)
    rows = x.flatten(0, -2)
    low_rank = layer.lora_dropout[name](rows) @ down.T
    return torch.addmm(layer.base_layer(rows), low_rank, up.T).unflatten(0, x.shape[:-1])
