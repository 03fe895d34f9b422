"""What a plan says: the model, the data, the machine, what each method takes, and the advice."""

from typing import Any

from tasks.core.values import Value


class MemoryEstimate(Value):
    """Peak memory of a training run in bytes, by purpose."""

    weights: int
    trained: int
    gradients: int
    optimiser: int
    activations: int
    intermediate: int
    allocator: int
    best: int
    runtime: int
    arithmetic: tuple[str, ...]
    """How each part is computed, a line each."""

    @property
    def parts(self) -> dict[str, int]:
        """The bytes of each part by its name."""
        return self.model_dump(exclude={"arithmetic"})

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


class MemoryUse(Value):
    """Peak memory of a run, as predicted and as measured."""

    predicted_bytes: int | None
    """None where it could not be predicted."""
    parts: dict[str, int]
    """Of the prediction (`MemoryEstimate.parts`)."""
    measured_bytes: int | None = None
    """None before the run has stopped for the first time."""


class ModelFacts(Value):
    """The base model."""

    name: str
    architecture: str
    parameters: int
    loss: float | None
    """Mean loss on the validation data in nats a token; none where the base was not loaded."""
    loss_unknown: str | None
    """Why `loss` is none."""
    usual_loss: float
    """What a model of this size loses on common text, in nats a token."""


class DataFacts(Value):
    """The training data, and what the configured run sees of it."""

    examples: int
    tokens: int
    targets: int
    """Tokens that are learned, in one pass over the data."""
    longest: int
    """Tokens of the longest example."""
    targets_per_trained_parameter: dict[str, float]
    """By method."""
    steps: int
    examples_seen: int
    epochs: float
    tokens_trained: int
    counts: dict[str, Any]
    """By split: what `tune.max_length` cut or left out."""
    warnings: tuple[str, ...]


class MachineFacts(Value):
    """The machine on which training would run."""

    cores: int | None
    accelerator: str | None
    memory_bytes: int
    memory_available_bytes: int
    memory_budget_bytes: int
    """What training may use: `plan.memory_gb`, or what is available."""
    dtype: str
    flops_per_second: float | None
    """Measured on some steps of LoRA; none where the base was not loaded."""
    price_per_hour: float


class MethodEstimate(Value):
    """What one method would take; a figure that cannot be predicted is none, with a note."""

    method: str
    trainable_parameters: int | None = None
    trainable_share: float | None = None
    memory_bytes: int | None = None
    memory_parts: dict[str, int] | None = None
    memory_arithmetic: tuple[str, ...] | None = None
    fits: bool | None = None
    """Whether it fits into the budget; none where its memory cannot be predicted."""
    seconds: float | None = None
    cost: float | None = None
    """In the currency of `plan.price_per_hour`."""
    notes: tuple[str, ...] = ()


class Advice(Value):
    """The advised method, and why."""

    method: str | None
    """None where no method fits."""
    reasons: tuple[str, ...]
    instead: tuple[str, ...]
    """What to try before tuning, or beside it."""


class Plan(Value):
    """The result of `perpetune plan`."""

    model: ModelFacts
    data: DataFacts
    machine: MachineFacts
    methods: tuple[MethodEstimate, ...]
    advice: Advice
    seconds: float
    """What planning itself took."""
