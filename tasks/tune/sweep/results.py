"""What a sweep says: its trials, the best of them, and how far that choice can be trusted."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tasks.core.values import Value
from tasks.tune.plan import MemoryUse

State = Literal["running", "complete", "pruned", "failed"]


class Trial(Value):
    """One configuration, and what its run has come to."""

    number: int
    params: dict[str, Any]
    """What is varied, and `alpha`; none where the trial's method does not use it."""
    state: State
    reason: str | None = None
    """Why it failed."""
    rung: int = 0
    """Rungs that it has reached."""
    steps: int = 0
    validation_loss: float | None = None
    """The lowest so far, in nats a token; none before the first evaluation, and where it failed."""
    tokens: int = 0
    """Those trained on."""
    seconds: float = 0.0
    memory: MemoryUse | None = None
    learning_rate: float | None = Field(default=None, exclude=True)
    """That of the last step, while it trains in this process."""
    seconds_left: float | None = Field(default=None, exclude=True)
    """To the last step at most, while it trains in this process."""

    @property
    def used_params(self) -> dict[str, Any]:
        """`params` without those that its method does not use."""
        return _used(self.params)


class Selection(Value):
    """How far the best trial's validation loss can be trusted."""

    trials: int
    choices: int
    """Evaluations of all trials, of which the lowest was chosen."""
    examples: int
    optimism: float | None
    """Selection bias: by how much the loss is too low because it was chosen, in nats a token."""
    corrected_loss: float | None
    standard_error: float | None
    """Of the loss, over draws of as many examples."""
    reason: str | None
    """Why `optimism` is none."""


class SeedSpread(Value):
    """The losses of one configuration trained from several seeds."""

    number: int
    """Of the trial."""
    validation_losses: tuple[float | None, ...]
    """The trial's own first; none where a run failed."""
    mean: float
    standard_deviation: float | None
    """None of a single loss."""


class BestTrial(Value):
    """The complete trial with the lowest validation loss."""

    number: int
    params: dict[str, Any]
    validation_loss: float
    worse_than_base: bool
    adapter: Path
    """A copy of its weights: a plain PEFT adapter folder, or a whole model's."""
    tune: dict[str, Any] = Field(default_factory=dict)
    """The section `tune` with which it was trained; none of a sweep of an earlier version."""

    @property
    def used_params(self) -> dict[str, Any]:
        """`params` without those that its method does not use."""
        return _used(self.params)


class SweepResult(Value):
    """The result of `perpetune sweep`, as `sweep.json` holds it."""

    key: str
    """Equal for sweeps that would give the same trials."""
    trials: tuple[Trial, ...]
    best: BestTrial
    initial_validation_loss: float
    """The base's, before any training."""
    worse_than_base: bool
    """The best trial is no better than the base."""
    selection: Selection
    seeds: tuple[SeedSpread, ...]
    """The best configurations trained from other seeds, where `sweep.seeds` asks for it."""
    examples_seen: int
    """Different training examples that a whole trial sees."""
    epochs: float
    train_examples: int
    data: dict[str, Any]
    """By split: what `tune.max_length` cut or left out."""
    warnings: tuple[str, ...]
    seconds: float
    """Those before an interruption included."""
    tokens_trained: int
    tokens_per_second: float


def trial_folder(out: Path, number: int) -> Path:
    """The folder of a trial in that of its sweep."""
    return out / "trials" / str(number)


def _used(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
