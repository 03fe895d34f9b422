"""The sections `tune`, `sweep` and `plan`."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from tasks.core.errors import BadInput
from tasks.settings.section import Chosen, Fraction, LearningRate, Positive, Section, Unit
from tasks.tune.methods import METHODS, MethodSettings
from tasks.tune.methods.settings import LowRank
from tasks.tune.objectives import OBJECTIVES, ObjectiveSettings


class Tune(Section):
    """One training configuration, and the bounds that every trial of a sweep shares."""

    KEY = "tune"
    READ_BY = ("plan", "train", "sweep", "run", "watch")

    method: Annotated[MethodSettings, Chosen(METHODS, "lora")] = LowRank(name="lora")
    """How the base is adapted: the method's `name`, and the settings of that method."""
    objective: Annotated[ObjectiveSettings, Chosen(OBJECTIVES, "supervised")] = ObjectiveSettings(
        name="supervised"
    )
    """What training minimises: the objective's `name`, and the settings of that objective."""
    learning_rate: LearningRate | Literal["auto"] = "auto"
    """Peak learning rate; `auto`: the method's usual one for a model of this width."""
    weight_decay: Fraction = 0.0
    """AdamW weight decay."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Decay after the warm-up."""
    warmup_share: Fraction = 0.1
    """Share of the steps in which the rate rises to its peak (usual: 0.03 to 0.1)."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Examples an optimiser step, accumulated over as many micro-batches as that takes."""
    micro_batch_tokens: Annotated[int, Field(ge=64), Unit("tokens")] = 1024
    """Tokens computed at once; a batch is cut into as many micro-batches as that takes."""
    gradient_checkpointing: bool = False
    """Keep no activations inside layers and compute them again: less memory, a third more time."""
    max_steps: Annotated[int, Field(ge=1), Unit("optimiser steps")] = 20
    """Optimiser steps at most."""
    epochs: Annotated[Positive, Unit("passes over the data")] = 3.0
    """Passes over the training data at most; the earlier of this and `max_steps` ends training."""
    max_length: Annotated[int, Field(ge=16), Unit("tokens")] = 512
    """Tokens of an example at most; a longer chat is truncated from the left, a longer text is cut
    into several examples."""
    max_gradient_norm: Positive = 1.0
    """Gradients are clipped to this norm."""
    evaluations: Annotated[int, Field(ge=1)] = 4
    """Evaluations on validation data in a full run, evenly spread, the last one at the end."""
    validation_examples: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Validation examples in each of them (the first by hash of their id); `auto`: 40, or more
    where all evaluations together take less than a tenth of the run's time."""
    patience: Annotated[int, Field(ge=1), Unit("evaluations")] = 2
    """Evaluations without improvement after which training stops."""
    checkpoint_minutes: Annotated[Positive, Unit("minutes")] = 5.0
    """Minutes between checkpoints, from which a killed run continues."""
    processes: Annotated[int, Field(ge=1)] = 1
    """Processes that train one run together, each with a share of every batch (and a GPU, if
    available)."""
    shard: bool = False
    """Shard the frozen weights over these processes (FSDP2): for bases too large for one GPU."""
    source_weights: dict[str, Fraction] = {"data/feedback": 0.5}
    """Share of training examples drawn from sources under a path; the others fill the rest.
    `data/feedback` stands for the folder of `curate.feedback`, wherever that is."""

    @property
    def adapter_dropout(self) -> float:
        """Dropout before the adapter; 0 where the method has none."""
        return float(getattr(self.method, "dropout", 0.0))

    def short(self) -> dict[str, Any]:
        """All settings by the last part of their keys, as trials, metrics and cards show them.

        `method` and `objective` are their names, each followed by its own settings.
        """
        found: dict[str, Any] = {}
        for key, value in self.plain().items():
            chosen = isinstance(getattr(self, key), Section)
            found |= {key: value.pop("name"), **value} if chosen else {key: value}
        return found

    @model_validator(mode="after")
    def _weights_add_up(self) -> Self:
        if sum(self.source_weights.values()) > 1:
            raise ValueError("the shares of source_weights add up to at most 1")
        return self

    @model_validator(mode="after")
    def _weights_can_be_sharded(self) -> Self:
        if self.shard and self.processes == 1:
            raise ValueError("shard spreads weights over processes: set processes above 1")
        if self.shard and self.method.name in ("full", "feature_extraction", "qlora"):
            raise ValueError(
                f"shard spreads frozen, unquantised weights, which {self.method.name} lacks"
            )
        return self


class LogRange(Section):
    """Numbers between two ends, evenly spread by their logarithm."""

    log: tuple[Positive, Positive]


class UniformRange(Section):
    """Numbers between two ends, evenly spread."""

    uniform: tuple[float, float]


Range: TypeAlias = LogRange | UniformRange


def _is_axis(value: Any) -> Any:
    """A list of values, or {log: [low, high]} or {uniform: [low, high]}."""
    if isinstance(value, list) and value:
        return value
    if isinstance(value, Range):
        return value
    words = "a list of values, or {log: [low, high]} or {uniform: [low, high]}"
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError(words)
    ((kind, ends),) = value.items()
    ranges: dict[str, type[Section]] = {"log": LogRange, "uniform": UniformRange}
    known = ranges.get(kind)
    numbers = isinstance(ends, Sequence) and [
        end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)
    ]
    if known is None or not numbers or len(numbers) != 2 or len(ends) != 2:
        raise ValueError(words)
    low, high = numbers
    if low >= high or (kind == "log" and low <= 0):
        above = ", both above 0" if kind == "log" else ""
        raise ValueError(f"the lower end first, then the higher one{above}")
    return known.model_validate(value)


Axis = Annotated[list[Any] | LogRange | UniformRange, BeforeValidator(_is_axis)]


class Sweep(Section):
    """The search over configurations; what it does not vary comes from `tune`."""

    KEY = "sweep"
    READ_BY = ("sweep", "run", "watch")

    space: dict[str, Axis] = {
        "tune.method.rank": [8, 32, 128],
        "tune.learning_rate": [3e-4, 1e-3, 3e-3],
    }
    """What is varied: any key of `tune`, with a list of values, or, for samplers, a range `{log:
    [low, high]}` or `{uniform: [low, high]}`. `tune.method` takes names, or mappings with the keys
    of that method; a key that a trial's method does not have is left out of that trial. Samplers
    take a list of learning rates as the ends of a `log` range."""
    sampler: Literal["grid", "random", "tpe"] = "grid"
    """How the next configuration is chosen."""
    trials: Annotated[int, Field(ge=1)] = 9
    """Number of configurations; a grid ends earlier when it is exhausted."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """Successive halving: one of this many trials continues after a rung (Jamieson & Talwalkar
    2016)."""
    prune: bool = True
    """Stop weak trials early."""
    cohort: Annotated[int, Field(ge=1, le=256)] = 16
    """Trials proposed and taken from rung to rung together; the next cohort learns from them."""
    adapters_per_pass: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    """Trials of a cohort that share one forward and backward pass; `auto`: as many as fit into
    memory and a short measurement finds fastest."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes on this machine that share a cohort's trials, each with its own base (and GPU, if
    available)."""
    engine: Literal["native", "ray"] = "native"
    """Where trials are trained: here, or as Prefect tasks on Ray (the cluster of RAY_ADDRESS)."""
    trial_cpus: Annotated[float, Field(ge=0)] = 1
    """On Ray: CPUs that a trial takes."""
    trial_gpus: Annotated[float, Field(ge=0)] = 0
    """On Ray: GPUs that a trial takes."""
    seeds: Annotated[int, Field(ge=0, le=100)] = 0
    """Number of other seeds that the best configurations are trained again from, to report how
    far their losses spread."""
    reseed_top: Annotated[int, Field(ge=1)] = 2
    """Number of configurations to train again from other seeds."""


class Plan(Section):
    """What `perpetune plan` assumes where the machine does not say it."""

    KEY = "plan"
    READ_BY = ("plan", "sweep")

    memory_gb: Annotated[Positive | None, Unit("10⁹ bytes")] = None
    """Memory that training may use, in units of 10⁹ bytes; null: what this machine has."""
    price_per_hour: Annotated[float, Field(ge=0), Unit("currency per hour")] = 0.0
    """What an hour on this machine costs, in the currency of your choice."""
    adapters: Annotated[int, Field(ge=1)] = 1
    """Number of tuned models (customers, tasks) to be served from one base."""


LEARNING_RATE = "tune.learning_rate"
METHOD = "tune.method"


def axis_name(key: str) -> str:
    """By which trials know a key of `sweep.space`: `tune.method.rank` is `rank`."""
    return key.rpartition(".")[2]


def uses(tune: Tune, key: str) -> bool:
    """Whether a key of `sweep.space` makes a difference to the method of `tune`."""
    return not key.startswith(f"{METHOD}.") or axis_name(key) in type(tune.method).model_fields


def configured(tune: Tune, values: Mapping[str, Any]) -> Tune:
    """`tune` with other values of some keys, the method's before its settings'.

    A method by its name alone keeps those settings of `tune.method` that it has, too. A setting
    that the method does not have is left out.

    Args:
        tune: where the other values come from.
        values: by whole key, as `tune.method.rank`.

    Raises:
        BadInput: a value is out of range, or they do not go together.
    """
    changes: dict[str, Any] = {}
    if METHOD in values:
        tune = tune.replace(method=switched(tune.method, values[METHOD]))
    for key, value in values.items():
        if key == METHOD or not uses(tune, key):
            continue
        first, _, inner = key.removeprefix("tune.").partition(".")
        if not inner:
            changes[first] = value
            continue
        section = changes.get(first, getattr(tune, first))
        changes[first] = section.replace(**{inner: value})
    return tune.replace(**changes)


def switched(method: MethodSettings, other: Any) -> Any:
    """Another method in the place of `method`: its name, or a mapping with `name`.

    Settings that both have keep their values unless the mapping has them.
    """
    given = {"name": other} if isinstance(other, str) else dict(other)
    member = METHODS.members().get(str(given.get("name", method.name)))
    kept = {} if member is None else {key: value for key, value in method if key in member.uses}
    return {**kept, "name": method.name, **given}


class BadAxis(ValueError):
    """What is wrong with one key of `sweep.space`."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(what)
        self.key = key


def check_space(tune: Tune, sweep: Sweep) -> None:
    """Try every value of `sweep.space` against `tune`.

    Raises:
        BadAxis: there is no such key, or `tune` cannot have one of its values.
    """
    methods = [configured(tune, {METHOD: value}) for value in _methods(tune, sweep)]
    names: dict[str, str] = {}
    for key, axis in sweep.space.items():
        _check_key(key)
        other = names.setdefault(axis_name(key), key)
        if other != key:
            raise BadAxis(key, f"{other} ends alike; vary one of them")
        for value in axis if isinstance(axis, list) else ends(axis):
            for own in _users(key, methods, tune):
                _try(own, key, value)
        _check_kind(key, axis, sweep.sampler)


def _users(key: str, methods: Sequence[Tune], tune: Tune) -> list[Tune]:
    """Configurations whose method has the setting `key`; none of the sweep's: one of another."""
    users = [own for own in methods if uses(own, key)]
    if users:
        return users
    for method in METHODS:
        other = configured(tune, {METHOD: {"name": method.name}})
        if uses(other, key):
            return [other]
    every = sorted({name for method in METHODS for name in method.uses})
    raise BadAxis(key, f"no method has this setting; methods have {', '.join(every)}")


def _methods(tune: Tune, sweep: Sweep) -> list[Any]:
    """The methods that trials can have."""
    axis = sweep.space.get(METHOD, [tune.method.name])
    for value in axis if isinstance(axis, list) else [None]:
        if not isinstance(value, str | Mapping):
            raise BadAxis(METHOD, "a list of methods' names, or of mappings with `name`")
        _try(tune, METHOD, value)
    assert isinstance(axis, list)
    return axis


def _check_key(key: str) -> None:
    section, _, rest = key.partition(".")
    first = rest.partition(".")[0]
    if section != "tune" or not rest:
        raise BadAxis(key, f"only keys of tune can be searched, such as {LEARNING_RATE}")
    if first not in Tune.model_fields:
        close = difflib.get_close_matches(first, Tune.model_fields, n=1)
        hint = f"did you mean tune.{close[0]}?" if close else f"tune has {', '.join(_KEYS)}"
        raise BadAxis(key, f"unknown key; {hint}")
    if key in ("tune.method.name", "tune.objective.name"):
        raise BadAxis(key, f"write {key.removesuffix('.name')}")
    if rest != first and first not in ("method", "objective"):
        raise BadAxis(key, f"tune.{first} has no keys of its own")


_KEYS = tuple(Tune.model_fields)


def _try(tune: Tune, key: str, value: Any) -> None:
    try:
        configured(tune, {key: value})
    except BadInput as error:
        raise BadAxis(key, str(error).removeprefix(f"{key}: ")) from None


def _check_kind(key: str, axis: Any, sampler: str) -> None:
    if sampler == "grid" and isinstance(axis, Range):
        raise BadAxis(
            key,
            "the sampler grid needs a list of values; give one, or set sweep.sampler to random or "
            "tpe",
        )
    if key != LEARNING_RATE or not isinstance(axis, list):
        return
    if "auto" in axis:
        raise BadAxis(key, "given 'auto'; allowed: numbers")
    if sampler != "grid" and len(set(axis)) < 2:
        raise BadAxis(key, f"the sampler {sampler} needs two learning rates as bounds")


def takes_whole_numbers(tune: Tune, key: str, low: float) -> bool:
    """Whether a key that can be `low` can be whole numbers only."""
    if low != int(low):
        return False
    users = [tune, *(configured(tune, {METHOD: {"name": method.name}}) for method in METHODS)]
    user = next(own for own in users if uses(own, key))
    try:
        configured(user, {key: low + 0.5})
    except BadInput:
        return True
    return False


def ends(axis: Range) -> tuple[float, float]:
    """The lower and the higher end of a range."""
    return axis.log if isinstance(axis, LogRange) else axis.uniform
