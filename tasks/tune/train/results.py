"""What a run has come to, as its folder keeps it."""

from pathlib import Path
from typing import Any, Literal

from tasks.core import files
from tasks.core.values import Value
from tasks.tune.plan.results import MemoryUse
from tasks.tune.train.conditions import Conditions


class TrainingResult(Value):
    """What a run has come to: the content of `metrics.json`."""

    method: str
    params: dict[str, Any]
    """The settings of the run, with numbers for rules such as `auto`."""
    state: Literal["complete", "pruned"]
    steps: int
    epochs: float
    """Passes over the training data."""
    validation_loss: float
    """Of the best evaluation; losses are in nats a learned token."""
    initial_validation_loss: float
    worse_than_base: bool
    """Whether no evaluation was better than the base's."""
    train_loss: float
    """Of the last step."""
    tokens_trained: int
    tokens_per_second: float
    """Trained tokens over all of `seconds`, evaluations included."""
    seconds: float
    trainable_parameters: int
    trainable_share: float
    train_examples: int
    data: dict[str, Any]
    """What `tune.max_length` cut or left out."""
    memory: MemoryUse
    adapter: Path
    """Folder of the best weights."""
    computed: tuple[Conditions, ...] = ()
    """What its steps were computed on, in their order; none of a run of an earlier version."""
    examples_seen: int | None = None
    """Of `train_examples`, those that the configured steps see; none for a trial of a sweep."""
    warnings: tuple[str, ...] | None = None
    """Sentences; none for a trial of a sweep, which has them for all its trials."""

    def to_json(self) -> dict[str, Any]:
        """Without what a trial of a sweep does not have."""
        left_out = {name for name in ("examples_seen", "warnings") if getattr(self, name) is None}
        return self.model_dump(mode="json", by_alias=True, exclude=left_out)

    def headline(self) -> dict[str, float]:
        """What counts, for a table beside other runs."""
        names = ("validation_loss", "initial_validation_loss", "steps")
        return {name: getattr(self, name) for name in names}


def read_result(folder: Path) -> TrainingResult | None:
    """The result in a run's folder, if the run has come to its end.

    Raises:
        PerpetuneError: the file is damaged, or of another version.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        return None
    return TrainingResult.from_json(files.read_json(path), str(path))


def worse_than_base(validation_loss: float, base_loss: float, what: str = "this run") -> str:
    """The warning about a result that is no better than the base it began from."""
    return (
        f"{what} ended no better than the base model: validation loss {validation_loss:.4f}, and "
        f"{base_loss:.4f} before any training; do not use it: lower the learning rate, train "
        "longer, or look at the data"
    )
