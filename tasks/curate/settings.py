"""The section `curate`: what becomes training data."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from tasks.curate.steps.quality.filters import FILTERS
from tasks.settings.section import Composed, Fraction, Section, Timestamp, Unit

PersonalDataAction: TypeAlias = Literal["drop", "mask", "keep"]


Quality = Composed(
    __name__,
    "Quality",
    "curate.quality",
    lambda: sorted(FILTERS, key=lambda member: (member.order, member.name)),
    "Filters that read one record at a time.",
)


class Privacy(Section):
    """What happens to personal data and secrets: drop the record, mask the place, or keep it."""

    KEY = "curate.privacy"

    email: PersonalDataAction = "mask"
    """E-mail addresses."""
    phone: PersonalDataAction = "mask"
    """Phone numbers."""
    card: PersonalDataAction = "mask"
    """Payment cards (issuer prefix and Luhn check)."""
    iban: PersonalDataAction = "mask"
    """Bank accounts (country length and check digits)."""
    secret: PersonalDataAction = "mask"
    """Private keys, access tokens and passwords."""
    private_ip: PersonalDataAction = "mask"
    """Addresses of private networks."""


class Duplicates(Section):
    """Which records count as the same."""

    KEY = "curate.duplicates"

    similarity: Annotated[float, Field(ge=0.5, le=1)] | None = 0.7
    """Jaccard similarity of word 5-grams from which two records are duplicates; null: only equal
    ones are."""


class Decontamination(Section):
    """Which records contain text of a benchmark."""

    KEY = "curate.contamination"

    ngram: Annotated[int, Field(ge=3, le=50), Unit("words")] = 13
    """Words of an n-gram; a benchmark text shorter than that counts whole."""
    max_overlap: Fraction = 0.4
    """Share of a benchmark text found in a record, in n-grams of both, that drops the record."""
    max_paraphrase: Fraction = 0.5
    """The same in 5-grams at one place of the record, for copies with changed words; 1: not
    checked."""
    min_information: Annotated[float, Field(ge=0, le=1000), Unit("bits")] = 52
    """Bits (-log2 of how common its words are) from which a whole prompt counts as a leak; parts
    of one need a tenth more. Higher: fewer common phrases, and fewer short leaks are found."""


class Splits(Section):
    """How groups of records are split into training, validation and test data."""

    KEY = "curate.splits"

    validation_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Share of groups in the validation split: early stopping, and the choice among trials."""
    test_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """Share of groups in the test split, which no choice depends on."""
    validation_from: Timestamp | None = None
    """Groups with a record from this time on (ISO 8601) validate; the shares split older ones."""
    test_from: Timestamp | None = None
    """Groups with a record from this time on (ISO 8601) test; later than `validation_from`."""
    max_overlap: Fraction | None = 0.6
    """Share of a validation or test record's word 5-grams in a training record that drops the
    training record; null: not checked."""

    @model_validator(mode="after")
    def _test_is_later(self) -> Self:
        if self.validation_from and self.test_from:
            begin, end = map(datetime.fromisoformat, (self.validation_from, self.test_from))
            if begin.replace(tzinfo=begin.tzinfo or UTC) >= end.replace(tzinfo=end.tzinfo or UTC):
                raise ValueError("test_from has to be later than validation_from")
        return self


class Replay(Section):
    """General data that is mixed into training so that tuning forgets less; curated alike."""

    KEY = "curate.replay"

    inputs: list[str] = []
    """Files, folders, globs; none: no replay."""
    share: Annotated[float, Field(gt=0, le=0.5)] = 0.15
    """Share of the training records that is replay, or less if `inputs` has fewer."""


class Curate(Section):
    """What becomes training data."""

    KEY = "curate"
    READ_BY = ("curate", "run", "watch")

    inputs: list[str] = ["data/train"]
    """Files, folders, globs (JSONL, JSON, Parquet, CSV; gz, zst)."""
    feedback: str | None = "data/feedback"
    """Folder of labelled traffic that drift rounds add; need not exist."""
    benchmarks: list[str] = ["data/benchmarks", "data/general_probe.jsonl"]
    """Benchmarks that must not leak into training: missing or empty ones are an error."""
    max_line_bytes: Annotated[int, Field(ge=1024), Unit("bytes")] = 16_777_216
    """Longest line read, in bytes: a longer one is dropped unread."""
    quality: Annotated[Section, Quality] = Field(default_factory=Quality)
    """Filters that read one record at a time."""
    privacy: Privacy = Privacy()
    """What happens to personal data and secrets, by kind: drop, mask or keep."""
    duplicates: Duplicates = Duplicates()
    """Which records count as the same."""
    contamination: Decontamination = Decontamination()
    """Which records contain text of a benchmark."""
    splits: Splits = Splits()
    """How groups of records are split into training, validation and test data."""
    replay: Replay = Replay()
    """General data that is mixed into training so that tuning forgets less; curated alike."""
