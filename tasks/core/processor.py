"""The processor of this machine: its name, and the instructions that decide how numbers round."""

import functools
import os
import platform
import re
from pathlib import Path

from tasks.core.values import Value

# Instructions for vectors and matrices. Kernels are chosen by them, so that results differ in bits.
_ARITHMETIC = re.compile(r"(avx|amx|fma|sse|sve|asimd|neon|f16c|bf16|i8mm)\w*|sme\w*(?<!p)")
_CPUINFO = Path("/proc/cpuinfo")


class Processor(Value):
    """What computes where there is no accelerator."""

    name: str
    architecture: str
    cores: int
    """Those that the operating system shows."""
    features: tuple[str, ...]
    """Instructions for vectors and matrices, sorted; none where the system does not list them."""


@functools.cache
def processor() -> Processor:
    """The processor of this machine."""
    described = _described()
    flags = described.get("flags") or described.get("features") or ""
    return Processor(
        name=described.get("model name") or platform.processor() or "unknown",
        architecture=platform.machine(),
        cores=os.cpu_count() or 1,
        features=tuple(sorted({flag for flag in flags.split() if _ARITHMETIC.fullmatch(flag)})),
    )


def _described() -> dict[str, str]:
    """What Linux says of the first core, by name in lower case."""
    found: dict[str, str] = {}
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for line in text.split("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        found[name.strip().lower()] = value.strip()
    return found
