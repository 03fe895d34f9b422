"""The memory of this machine: how much there is, how much this process uses, and its peak."""

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from transformers import PreTrainedModel


class Peak:
    """The result of `measured_peak`."""

    measured_bytes: int | None = None
    """Peak memory; none until the context of `measured_peak` has ended."""


@contextmanager
def measured_peak(device: torch.device) -> Iterator[Peak]:
    """Measure the peak memory of the code inside.

    On an accelerator it is what PyTorch allocated there. On a CPU it is the resident memory of this
    process: the kernel's high-water mark on Linux, samples every 10 ms elsewhere.
    """
    peak = Peak()
    if device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats(device)
        yield peak
        peak.measured_bytes = torch.accelerator.max_memory_allocated(device)
    elif _reset_high_water_mark():
        yield peak
        peak.measured_bytes = _process_status("VmHWM")
    else:
        with _sampled_peak(peak):
            yield peak


def _reset_high_water_mark() -> bool:
    """Whether the kernel has one, and it starts again from what is resident now."""
    try:
        # Man page proc_pid_clear_refs(5): 5 resets the high-water mark.
        Path("/proc/self/clear_refs").write_text("5")
        return _process_status("VmHWM") <= 1.1 * resident_memory()
    except (OSError, LookupError):
        return False


@contextmanager
def _sampled_peak(peak: Peak) -> Iterator[None]:
    done = threading.Event()
    highest = resident_memory()

    def sample() -> None:
        nonlocal highest
        while not done.wait(0.01):
            highest = max(highest, resident_memory())

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield
    finally:
        done.set()
        sampler.join()
    peak.measured_bytes = max(highest, resident_memory())


def runtime_memory(base: PreTrainedModel | None = None) -> int:
    """Bytes that this process takes without the weights of `base`; 0 on an accelerator.

    An accelerator's driver counts neither in its measured peak nor in its free memory.
    """
    with contextlib.suppress(OSError, AttributeError):
        # The C library keeps freed memory, which training reuses before it asks for more.
        ctypes.CDLL(None).malloc_trim(0)
    if base is None:
        return resident_memory()
    if base.device.type != "cpu":
        return 0
    return max(0, resident_memory() - int(base.get_memory_footprint()))


def available_memory(device: torch.device) -> tuple[int, int]:
    """Bytes that training could use, those of this process included; and bytes in all."""
    if device.type != "cpu":
        free, total = torch.accelerator.get_memory_info(device)
        return int(free) + torch.accelerator.memory_allocated(device), int(total)
    memory, resident = psutil.virtual_memory(), resident_memory()
    available, total = memory.available + resident, memory.total
    try:
        # The limit of a container (cgroup v2).
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return available, total
    return min(available, limit - used + resident), min(total, limit)


def resident_memory() -> int:
    """Bytes of this process in memory."""
    return int(psutil.Process().memory_info().rss)


def _process_status(name: str) -> int:
    """A figure of `/proc/self/status`, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise LookupError(name)
