"""LoRA's forward pass with fewer passes over memory than PEFT's own, for one adapter or several.

On a float16 or bfloat16 base, PEFT computes the update in float32, scales it, adds it and casts the
sum back, each a pass over the activations. Here the adapter's float32 weights are cast to the type
of the activations, as autocast does it, and one matrix product adds the update to the frozen
layer's output. In float32 the result is PEFT's own.

Several active adapters are lanes: the row of tokens falls into as many equal parts, and each part
goes through the frozen layer with its own adapter, whose rank may differ from its neighbours'.
(Where PEFT is given several active adapters, it adds all of them to every token; here that has no
use.) On a CPU, each lane's products are those of an adapter alone, so that a lane trains as it
would alone. On an accelerator, which takes longer to begin a small product than to compute it, one
batched product serves all lanes, smaller ranks filled up with zeros.
"""

from collections.abc import Sequence
from types import MethodType
from typing import Any, cast

import peft
import torch
from peft import PeftModel
from peft.tuners.lora import Linear


def fuse(model: PeftModel, *, batched: bool | None = None) -> None:
    """Give the plain LoRA layers of `model` the quick forward; other layers keep their own.

    Args:
        model: on its device.
        batched: one product serves all lanes; where not given, on an accelerator.
    """
    if batched is None:
        batched = next(model.parameters()).device.type not in ("cpu", "meta")
    forward = _forward_batched if batched else _forward
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
            module.forward = MethodType(forward, module)  # type: ignore[method-assign]


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
    result: torch.Tensor = out.unflatten(0, x.shape[:-1])
    return result


def _updated(layer: Linear, name: str, rows: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    if name not in layer.lora_A:  # lanes may differ in their target modules
        return out
    down, up = (
        cast(torch.Tensor, matrices[name].weight).to(rows.dtype)
        for matrices in (layer.lora_A, layer.lora_B)
    )
    inner = layer.lora_dropout[name](rows) @ down.T
    # Parts of a whole cannot be changed in place, as autograd has it.
    add = torch.addmm if out._is_view() else torch.Tensor.addmm_
    return add(out, inner, up.T, alpha=layer.scaling[name])


def _forward_batched(layer: Linear, x: torch.Tensor) -> torch.Tensor:
    names = layer.active_adapters
    known = [name for name in names if name in layer.lora_A]
    drops = any(isinstance(layer.lora_dropout[name], torch.nn.Dropout) for name in known)
    if layer.disable_adapters or layer.merged or len(names) == 1 or not known or drops:
        return _forward(layer, x)
    rows = x.flatten(0, -2)
    weights = [
        cast(torch.Tensor, matrices[name].weight) if name in known else None
        for matrices in (layer.lora_A, layer.lora_B)
        for name in names
    ]
    scales = [layer.scaling[name] if name in known else 0.0 for name in names]
    out = layer.base_layer(rows)
    # Parts of a whole cannot be changed in place, as autograd has it.
    out = _Batched.apply(rows, out.clone() if out._is_view() else out, scales, *weights)  # type: ignore[no-untyped-call]
    result: torch.Tensor = out.unflatten(0, x.shape[:-1])
    return result


class _Batched(torch.autograd.Function):
    """out [K × N, out] + scale × rows [K × N, in] Aᵀ Bᵀ of K lanes, in place.

    `weights` are A [r, in] of each lane, then B [out, r] of each; none where a lane has none.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        out: torch.Tensor,
        scales: Sequence[float],
        *weights: torch.Tensor | None,
    ) -> torch.Tensor:
        count = len(scales)
        downs = _stacked(weights[:count], rows)  # [K, R, in]
        ups = _stacked([up if up is None else up.T for up in weights[count:]], rows)
        torch._foreach_mul_(ups.unbind(), scales)  # [K, R, out]
        inner = rows.unflatten(0, (count, -1)) @ downs.mT
        out.unflatten(0, (count, -1)).baddbmm_(inner, ups)
        ctx.scales = scales
        ctx.kinds = [None if weight is None else (weight.shape, weight.dtype) for weight in weights]
        ctx.save_for_backward(rows, downs, ups, inner)
        ctx.mark_dirty(out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        rows, downs, ups, inner = ctx.saved_tensors
        count = len(ctx.scales)
        lanes, gradient_lanes = (flat.unflatten(0, (count, -1)) for flat in (rows, gradient))
        by_inner = gradient_lanes @ ups.mT
        by_rows = (by_inner @ downs).flatten(0, 1) if ctx.needs_input_grad[0] else None
        by_downs = by_inner.mT @ lanes
        by_ups = gradient_lanes.mT @ inner
        torch._foreach_mul_(by_ups.unbind(), ctx.scales)
        # Whole: PyTorch's fused AdamW takes no gradient that is a part of something.
        by_weights = [
            None if kind is None else by[: kind[0][0], : kind[0][1]].to(kind[1]).contiguous()
            for by, kind in zip([*by_downs, *by_ups], ctx.kinds, strict=True)
        ]
        return by_rows, gradient, None, *by_weights


def _stacked(weights: Sequence[torch.Tensor | None], like: torch.Tensor) -> torch.Tensor:
    """Matrices of equal width [r, n], one below another: [K, largest r, n], filled up by zeros."""
    given = [weight for weight in weights if weight is not None]
    highest = max(len(weight) for weight in given)
    stacked = like.new_zeros(len(weights), highest, given[0].shape[1])
    places = [stacked[i, : len(weight)] for i, weight in enumerate(weights) if weight is not None]
    torch._foreach_copy_(places, given)
    return stacked
