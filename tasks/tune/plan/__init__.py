"""What each method would take here, before anything is trained, and which one is advised."""

from pathlib import Path

from tasks.settings import Settings
from tasks.tune.plan.results import Advice, MemoryEstimate, MemoryUse, MethodEstimate, Plan

__all__ = ["Advice", "MemoryEstimate", "MemoryUse", "MethodEstimate", "Plan", "plan"]


def plan(data: Path, settings: Settings) -> Plan:
    """Predict memory, time and cost of every method for the run that `settings.tune` describes.

    Some training steps of LoRA are timed, and the base model reads some validation examples;
    nothing of that is kept. The base is not loaded where it does not fit into memory.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`, as `curate` writes them.
        settings: `plan`, `tune`, `base` and the project's seed matter.

    Raises:
        BadInput: a file of `data` is missing, empty or damaged, or holds nothing to learn.
    """
    from tasks.tune.plan import estimate

    return estimate.plan(data, settings)
