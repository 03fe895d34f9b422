"""Where the model is computed: the device, and the type of its frozen weights."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from tasks.model.settings import Base

if TYPE_CHECKING:
    import torch


def device() -> "torch.device":
    """The accelerator, where there is one, else the CPU."""
    import torch

    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def compute_dtype(base: Base) -> "torch.dtype":
    """The type of the frozen weights: as set, or bfloat16 where the machine has it natively."""
    import torch

    if base.dtype != "auto":
        return cast("torch.dtype", getattr(torch, base.dtype))
    if device().type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    if device().type == "cpu" and _cpu_has_bfloat16():
        return torch.bfloat16
    return torch.float32


def _cpu_has_bfloat16() -> bool:
    # Without these instructions PyTorch emulates bfloat16, slower than float32.
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))
