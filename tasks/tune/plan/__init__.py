"""What each method would take here, before anything is trained, and which one is advised."""

from pathlib import Path
from typing import Any

from tasks.settings import Settings

__all__ = ["plan"]


def plan(data: Path, settings: Settings) -> dict[str, Any]:
    """What each method would take here, and which one is advised, before anything is trained.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`.
        settings: `plan`, `tune`, `base` and the project's seed matter.

    Returns:
        `model`, `data`, `machine`; `methods`, for each its trained parameters, predicted memory
        with its arithmetic, whether it fits, seconds and cost; `advice` with its reasons.

    Raises:
        BadInput: as `train`.
    """
    from tasks.tune.plan import estimate

    return estimate.plan(data, settings)
