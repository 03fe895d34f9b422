"""What a curation came to: the content of `report.json`."""

from pydantic import Field

from tasks.core.values import Value


class StepCount(Value):
    """Records before and after a step."""

    step: str
    before: int = Field(alias="in")
    after: int = Field(alias="out")


class Detail(Value):
    """The commonest detail among the records that were dropped for a reason."""

    text: str
    records: int


class Bin(Value):
    """Records whose length is from `low` to `high` tokens."""

    low: int = Field(alias="from")
    high: int = Field(alias="to")
    records: int


class TokenFigures(Value):
    """Lengths of the records kept, in tokens of the base model with its chat template."""

    minimum: int
    p5: int
    median: int
    p95: int
    p99: int
    maximum: int
    total: int
    bins: tuple[Bin, ...]
    by_split: dict[str, int]
    """Tokens by split."""
    context_window: int | None
    """Tokens that the base model was made for; None: not known."""


class MostCommon(Value):
    """The most common last answer."""

    records: int
    share: float


class Rarest(Value):
    """The rarest last answer."""

    records: int


class LabelFigures(Value):
    """How the chats' last answers spread."""

    chats: int
    distinct: int
    most_common: MostCommon
    rarest: Rarest


class DuplicateFigures(Value):
    """Share (0 to 1) of the records in that were duplicates, or nearly."""

    share: float


class PersonalDataFigures(Value):
    """Where personal data of one kind was found."""

    records: int
    places: int


class Group(Value):
    """A group of records that are kept together."""

    name: str
    records: int


class ReplayFigures(Value):
    """General data kept, and how much of it would make its share of training."""

    kept: int
    wanted: int


class FileFigures(Value):
    """Records of an input file, and how many of them were kept."""

    path: str
    before: int = Field(alias="in")
    kept: int


class BenchmarkFigures(Value):
    """A benchmark that records were compared with."""

    path: str
    records: int
    unreadable: int
    """Lines that are no record."""
    unanswered: int
    """Records without an answer: only what they ask is compared."""


class CurationCounts(Value):
    """The ledger in figures: `before` is the sum of all `kept` and all `dropped`."""

    before: int = Field(alias="in")
    kept: dict[str, int]
    """Records by split."""
    dropped: dict[str, int]
    """Records by reason."""


class Figures(Value):
    """What was counted."""

    before: int = Field(alias="in")
    kept: dict[str, int]
    """Records by split."""
    groups: dict[str, int]
    """Groups by split."""
    dropped: dict[str, int]
    """Records by reason."""
    details: dict[str, Detail]
    """By reason."""
    steps: tuple[StepCount, ...]
    tokens: TokenFigures
    kinds: dict[str, int]
    """Records kept by kind."""
    labels: LabelFigures | None
    """None: no chats."""
    duplicates: DuplicateFigures
    personal_data: dict[str, PersonalDataFigures]
    """By kind."""
    largest_group: Group
    shared_ids: int
    """Records kept that share their id with another."""
    replay: ReplayFigures
    files: tuple[FileFigures, ...]
    benchmarks: tuple[BenchmarkFigures, ...]

    @property
    def total_kept(self) -> int:
        """Records kept in all splits."""
        return sum(self.kept.values())

    @property
    def total_dropped(self) -> int:
        """Records dropped for all reasons."""
        return sum(self.dropped.values())


class CurationReport(Figures):
    """The content of `report.json`."""

    alarms: tuple[str, ...]
    """What makes training or its figures worse, most severe first."""
    remarks: tuple[str, ...]
    """What is good to know, and no reason to stop."""
    advice: tuple[str, ...]
    """Alarms and remarks."""
    seconds: float
    records_per_second: float
    engine: str
    outputs: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each file that was written with the report."""

    def with_outputs(self, hashes: dict[str, str]) -> "CurationReport":
        """The report of files with these hashes."""
        return self.model_copy(update={"outputs": hashes})

    @property
    def counts(self) -> CurationCounts:
        """The figures that DVC keeps as metrics, and a round as what became of its data."""
        return CurationCounts.from_json(
            {"in": self.before, "kept": self.kept, "dropped": self.dropped}
        )
