"""Where the run of a trial is: read from its checkpoint, or from what it left at its end."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core import files
from tasks.tune.plan import MemoryUse
from tasks.tune.sweep.halving import Losses
from tasks.tune.train import checkpoint, finishing
from tasks.tune.train.results import TrainingResult, read_result
from tasks.tune.train.run import CurveRow


@dataclass(frozen=True, slots=True)
class RunState:
    """A run's figures so far, whether it is under way, at its end, or has not begun."""

    folder: Path
    curve: tuple[CurveRow, ...] = ()
    best_loss: float | None = None
    """None before the first evaluation."""
    peak_lr: float | None = None
    """None before training has begun."""
    memory: MemoryUse | None = None
    ended: bool = False
    """Nothing is left to train."""
    checkpoint: Mapping[str, Any] | None = None
    """None where there is none, or no more."""
    result: TrainingResult | None = None
    """None before the run is finished."""

    @property
    def evaluations(self) -> list[float]:
        """The validation loss of each evaluation so far."""
        return [row["validation_loss"] for row in self.curve if "validation_loss" in row]

    @property
    def tokens(self) -> int:
        """Tokens trained on."""
        return sum(row["tokens"] for row in self.curve)

    @property
    def seconds(self) -> float:
        """Seconds of training."""
        return self.curve[-1]["seconds"] if self.curve else 0.0

    def example_losses(self) -> tuple[Losses, Losses]:
        """The summed loss of each validation example at each evaluation [evaluations, E], and the
        learned tokens of each example [E]."""
        rows = (
            finishing.validation_rows(self.checkpoint)
            if self.checkpoint
            else files.read_jsonl(self.folder / "validation.jsonl")
        )
        losses = np.array([row["losses"] for row in rows], dtype=float).T
        return losses, np.array([row["targets"] for row in rows], dtype=float)


def read_run(folder: Path) -> RunState:
    """The state of the run in `folder`."""
    progress = checkpoint.read_progress(folder)
    if progress is not None:
        return RunState(
            folder=folder,
            curve=tuple(progress["curve"]),
            best_loss=progress["best_loss"],
            peak_lr=progress["peak_lr"],
            memory=MemoryUse.from_json(progress["memory"], str(folder)),
            ended=progress["ended"],
            checkpoint=progress,
        )
    curve = folder / "curve.jsonl"
    state = RunState(folder, tuple(files.read_jsonl(curve)) if curve.is_file() else ())
    result = read_result(folder)
    if result is None:
        return state
    return RunState(
        folder=folder,
        curve=state.curve,
        best_loss=result.validation_loss,
        peak_lr=result.params["learning_rate"],
        memory=result.memory,
        ended=True,
        result=result,
    )
