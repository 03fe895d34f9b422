"""Forward and backward passes on PyTorch's `meta` device, where tensors have shapes but no bytes.

Left alone, some operations fail there, since sizes depend on values, and others keep what they keep
on no real device. `simulated` replaces those; `quantise` makes a model look loaded in NF4.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count
from transformers import PreTrainedModel

META = torch.device("meta")
# NF4 with double quantisation: 4 bits, an 8-bit constant for 64 weights, a float32 one for 256
# of those.
_NF4_BYTES = 4 / 8 + 1 / 64 + 4 / (64 * 256)
_FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
_GROUPED = (torch._grouped_mm, functional.grouped_mm)
_ATTENTION_FLOPS = {
    _FLASH: lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value),
    _FLASH_BACKWARD: lambda out, query, key, value, *_, **__: sdpa_backward_flop_count(
        out, query, key, value
    ),
}


@contextmanager
def simulated(targets: int) -> Iterator[None]:
    """Let operations on the meta device take the sizes that they have on a real one.

    Args:
        targets: learned tokens of the pack: so many positions are chosen where a mask chooses.
    """
    with ExitStack() as stack:
        stack.enter_context(_MetaFunctions(targets))
        stack.enter_context(_autocast_on_meta())
        yield


def recomputation(targets: int) -> dict[str, Any]:
    """Arguments of `gradient_checkpointing_enable` under which `simulated` holds as well.

    What is computed again is computed inside the backward, which no mode of the caller reaches.
    """

    def contexts() -> tuple[AbstractContextManager[None], TorchFunctionMode]:
        return nullcontext(), _MetaFunctions(targets)

    return {"use_reentrant": False, "context_fn": contexts}


def flop_counter() -> FlopCounterMode:
    """Counts floating-point operations, those of fused attention included."""
    return FlopCounterMode(display=False, custom_mapping=_ATTENTION_FLOPS)


class _MetaFunctions(TorchFunctionMode):
    """Replaces functions that need values, or that keep more on the meta device than elsewhere.

    Where values decide about sizes, known sizes replace them: a mask chooses as many positions as
    there are targets, and one expert takes all tokens. Attention keeps what PyTorch's fused kernels
    keep: the path without fusion, which the meta device would take, keeps a table of all scores.
    Copies to the CPU stay on the meta device.
    """

    def __init__(self, targets: int) -> None:
        super().__init__()
        self._targets = targets

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if args and isinstance(args[0], torch.Tensor) and args[0].is_meta:
            if func is torch.Tensor.__contains__:
                return False  # asked for warnings only
            if func is torch.Tensor.__bool__:
                return True  # mostly "all of a mask"
            if func in _GROUPED:
                return args[0] @ args[1][0]
            if func is torch.histc:  # of integers, which only some devices take
                return func(args[0].float(), *args[1:], **given)
            if func is torch.Tensor.__getitem__ and _is_mask(args[1]):
                chosen = torch.zeros(self._targets, dtype=torch.long, device=META)
                return args[0].flatten(0, args[1].dim() - 1)[chosen]
        if func is torch.Tensor.cpu and args[0].is_meta:
            return args[0]
        if func is torch.Tensor.to and args[0].is_meta and args[1:2] == ("cpu",):
            args = (args[0], META, *args[2:])
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **given)
        mask = given.get("attn_mask")
        if mask is not None:
            mask = mask.to(args[0].dtype).detach()  # a learned one is small beside the scores
        return _FLASH(*args, 0.0, mask is None, attn_mask=mask, scale=given.get("scale"))[0]


def _is_mask(index: Any) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype == torch.bool


@contextmanager
def _autocast_on_meta() -> Iterator[None]:
    """PyTorch has no autocast for the meta device; PEFT asks for it, to switch it off."""
    autocast = torch.autocast

    def patched(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return autocast("cpu" if device_type == "meta" else device_type, *args, **kwargs)

    torch.autocast = patched  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        torch.autocast = autocast  # type: ignore[misc]


def quantise(base: PreTrainedModel) -> tuple[int, int]:
    """Let `base` look as if it were loaded in NF4, but compute as before.

    Returns:
        Bytes of its weights in NF4, and of the largest of them decoded: each is decoded for its
        product and released.
    """
    from bitsandbytes.nn import Linear4bit, Params4bit
    from transformers.quantizers.base import get_keys_to_not_convert

    class Weights(Params4bit):
        def __deepcopy__(self, memo: Any) -> "Weights":  # DoRA decodes a copy
            return self

    excluded = get_keys_to_not_convert(base)
    before, saved, largest = weight_bytes(base), 0.0, 0
    for name, module in list(base.named_modules()):
        if type(module) is not torch.nn.Linear or any(key in name for key in excluded):
            continue
        weight, bias = module.weight, module.bias
        with META:
            layer = Linear4bit(
                module.in_features,
                module.out_features,
                bias is not None,
                weight.dtype,
                quant_type="nf4",
            )
        layer.weight = Weights(weight.data, quant_type="nf4", module=layer)
        layer.bias = bias
        layer.forward = partial(  # type: ignore[method-assign]
            _linear_in_4bit, weight=weight.detach(), bias=bias
        )
        base.set_submodule(name, layer)
        saved += weight.nbytes - weight.numel() * _NF4_BYTES
        largest = max(largest, weight.nbytes)
    base.is_loaded_in_4bit = True  # type: ignore[assignment]
    return before - int(saved), largest


def _linear_in_4bit(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """The product of a 4-bit layer: computed in the type of its weights, returned in that of
    `rows`."""
    return functional.linear(rows.to(weight.dtype), weight, bias).to(rows.dtype)


def weight_bytes(model: torch.nn.Module) -> int:
    """Bytes of parameters and buffers; shared storage counts once."""
    storages = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for tensor in [*model.parameters(), *model.buffers()]
    }
    return sum(storages.values())
