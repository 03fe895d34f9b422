"""What training reads: two splits as groups of examples, and counts of what could not be used."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model import base_model
from tasks.model.encoding import Example
from tasks.settings import Settings
from tasks.tune.data.batching import batches
from tasks.tune.data.groups import Group, examples_of
from tasks.tune.objectives import Encoder, Objective, objective_of
from tasks.tune.settings import Tune

SMALL_SHARE = 0.05
"""Share of examples that may be left out because their answers are too long; more is refused."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What `tune.max_length` did to a split; `cut` and `too_long` are counted before it."""

    examples: int
    """Those that are used."""
    cut: int
    """Examples of these whose prompt lost its beginning."""
    tokens_cut: int
    """Tokens that these lost."""
    too_long: int
    """Examples that are left out, since their answer does not fit."""
    nothing_to_learn: int
    """Examples that are left out, since nothing in them is learned."""
    longest: int
    """Tokens of the longest example, before it was cut."""


@dataclass(frozen=True, slots=True)
class Split:
    """A file of curated records, as training takes them."""

    path: Path
    groups: list[Group]
    counts: Counts


@dataclass(frozen=True, slots=True)
class Data:
    """A folder of curated records."""

    train: Split
    validation: Split
    key: str
    """Equal for equal files."""

    @property
    def longest(self) -> int:
        """Tokens of the longest example that is used."""
        return max(group.longest for group in [*self.train.groups, *self.validation.groups])

    def to_json(self) -> dict[str, Any]:
        """The counts of both splits."""
        return {"train": asdict(self.train.counts), "validation": asdict(self.validation.counts)}


@dataclass(frozen=True, slots=True)
class Seen:
    """What of the training data the configured steps see."""

    steps: int
    examples: int
    """Different ones."""
    of: int
    epochs: float

    def __str__(self) -> str:
        """As in "20 steps see 160 of 2,552 examples, 0.06 epochs"."""
        steps = f"{self.steps:,} step{'s' * (self.steps != 1)}"
        return f"{steps} see {self.examples:,} of {self.of:,} examples, {self.epochs:.2g} epochs"


def split_files(data: Path) -> list[Path]:
    """The files of `data` that training reads.

    Raises:
        BadInput: one of them is missing.
    """
    paths = [data / "train.jsonl", data / "validation.jsonl"]
    for path in paths:
        if not path.is_file():
            raise BadInput(f"{path}: no such file; `perpetune curate` writes it")
    return paths


def read(data: Path, settings: Settings, *, weights: bool = True) -> Data:
    """Encode the records of `data`.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`.
        settings: `base` and `tune` matter.
        weights: the base has to have some.

    Raises:
        BadInput: a file is missing, empty or damaged, holds nothing to learn, or records that
            `tune.objective` does not learn from; or `tune.max_length` is too short for it.
    """
    objective = objective_of(settings.tune)
    paths = split_files(data)
    loaded = [records.load([path]) for path in paths]
    for path, rows in zip(paths, loaded, strict=True):
        check_records(path, rows, objective)
    tokenizer = base_model.load_tokenizer(settings, weights=weights)
    encoder = Encoder(tokenizer, settings.tune.max_length)
    train, validation = (
        _encoded(path, [objective.encode(record, encoder) for record in rows], settings.tune)
        for path, rows in zip(paths, loaded, strict=True)
    )
    _check_length(train, settings.tune)
    return Data(train, validation, files.content_key(*map(files.md5, paths)))


def seen(groups: Sequence[Group], tune: Tune, seed: int) -> Seen:
    """What of `groups` the steps that `tune` asks for see."""
    plan = batches(groups, tune, seed)
    drawn = [group.id for batch in plan for group in batch]
    return Seen(len(plan), len(set(drawn)), len(groups), len(drawn) / len(groups))


def warnings(data: Data, tune: Tune) -> list[str]:
    """A sentence for each way in which the data and `tune` do not go together well."""
    found = []
    for split in (data.train, data.validation):
        counts, name = split.counts, split.path.name
        if counts.cut:
            found.append(
                f"tune.max_length: {counts.cut:,} of {counts.examples:,} examples of {name} lose "
                f"the beginning of their prompts, {counts.tokens_cut:,} tokens in all; "
                f"{counts.longest:,} would keep all of them whole"
            )
        if counts.too_long:
            found.append(
                f"tune.max_length: {counts.too_long:,} examples of {name} are left out, since "
                f"their answers do not fit; {counts.longest:,} would keep all of them"
            )
        if counts.nothing_to_learn:
            found.append(f"{name}: {counts.nothing_to_learn:,} records hold nothing to learn")
    if tune.batch_size > len(data.train.groups):
        found.append(
            f"tune.batch_size: {tune.batch_size} is more than the {len(data.train.groups)} "
            "training examples; each step sees some of them several times"
        )
    return found


def check_records(path: Path, rows: Sequence[records.Record], objective: Objective) -> None:
    """Refuse records that an objective does not learn from, before anything is computed.

    Raises:
        BadInput: there are some; the message counts them and names the first one's line.
    """
    refused = [(row.line, reason) for row in rows if (reason := objective.refusal(row))]
    if not refused:
        return
    counts = Counter(reason for _, reason in refused)
    reasons = " and ".join(f"{counts[reason]:,} {reason}" for reason in sorted(counts))
    otherwise = f", or {objective.remedy}" if objective.remedy else ""
    raise BadInput(
        f"{path}:{refused[0][0]}: {reasons} among {len(rows):,} records; {objective.name} tuning "
        f"learns from {objective.learns_from}: leave these out and curate again{otherwise}"
    )


def _encoded(path: Path, encoded: Sequence[Sequence[Group]], tune: Tune) -> Split:
    """The groups of a split that hold something to learn, and all that they are to teach."""
    groups = [group for of_record in encoded for group in of_record]
    fitting = [group for group in groups if not any(x.answer_cut for x in group.examples)]
    used = [group for group in fitting if all(x.targets for x in group.examples)]
    cut = [group for group in used if any(x.cut for x in group.examples)]
    counts = Counts(
        examples=len(used),
        cut=len(cut),
        tokens_cut=sum(example.cut for example in examples_of(used)),
        too_long=len(groups) - len(fitting),
        nothing_to_learn=len(fitting) - len(used),
        longest=max((_uncut_length(example) for example in examples_of(groups)), default=0),
    )
    if counts.too_long > max(1, SMALL_SHARE * len(groups)):
        raise BadInput(_too_short(path, counts, tune, f"the answers of {counts.too_long:,} of"))
    if not used:
        raise BadInput(f"{path}: no record holds anything to learn; fix the data or curate again")
    return Split(path, used, counts)


def _check_length(train: Split, tune: Tune) -> None:
    """Refuse a length that no training example has."""
    counts = train.counts
    if counts.cut == counts.examples:
        raise BadInput(_too_short(train.path, counts, tune, "each of"))


def _too_short(path: Path, counts: Counts, tune: Tune, which: str) -> str:
    return (
        f"tune.max_length: {tune.max_length} tokens cut {which} the "
        f"{counts.examples + counts.too_long:,} examples of {path}; {counts.longest:,} would keep "
        "all of them whole, and curate.quality.max_tokens leaves the longest out"
    )


def _uncut_length(example: Example) -> int:
    return len(example.input_ids) + example.cut + example.answer_cut
