"""What passes between the parts of labelling, and what its commands print."""

from typing import Any, Literal

from tasks.core.values import Value

RANDOM = "random"
Kind = Literal["labels", "answers"]


class BatchRow(Value):
    """A row that was handed out."""

    id: str
    """By which it comes back: the batch's key and a number."""
    window: str
    """Path of the window."""
    line: int
    prompt: str
    """What people read."""
    group: str
    strategy: str
    """`random` for the rows that were drawn at random."""
    reason: str
    suggestion: str | None = None
    times: int = 1
    """How often the prompt came in the windows."""
    record: dict[str, Any]
    """The row as data."""


class Batch(Value):
    """Rows that were handed out together."""

    key: str
    kind: Kind
    """`labels`: each answer is one of `choices`."""
    choices: tuple[str | int | float | bool, ...] = ()
    as_label: bool = False
    """Whether answers to texts become their labels, and not turns of a chat."""
    strategy: str
    rows: tuple[BatchRow, ...]

    @property
    def as_random(self) -> int:
        """Rows that were drawn at random."""
        return sum(row.strategy == RANDOM for row in self.rows)


class HandedOut(Value):
    """What `perpetune label --budget` prints."""

    batch: str
    file: str
    more_files: tuple[str, ...] = ()
    """Files beside it, such as Label Studio's labelling configuration."""
    format: str
    rows: int
    as_random: int
    """Of `rows`, those drawn at random."""
    strategy: str
    kind: Kind
    windows: tuple[str, ...]
    unlabelled: int
    """Rows of the windows without an answer, repetitions left out."""
    labelled: int
    """Rows of the windows that have an answer."""
    unreadable: int
    """Lines of the windows that are no records."""
    groups: int
    """Groups that the rows handed out are from."""
    suggestions: int
    """Rows with the model's own answer beside them."""
    notes: tuple[str, ...] = ()


class Filled(Value):
    """An answer as a file has it."""

    row: str
    prompt: str | None = None
    """None: the file does not repeat it."""
    answer: Any = None
    by: str = ""
    place: str = ""
    """File and line."""


class Difference(Value):
    """A figure of the chosen rows beside that of the random ones."""

    what: str
    """What is compared, and how."""
    chosen: float | None = None
    random: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    clusters: int = 0
    """Groups that the comparison rests on."""
    decided: bool = False
    """Whether the interval excludes 0."""
    sentence: str
    """What follows, in words; where nothing does, why."""


class Taken(Value):
    """What `perpetune label --take` prints."""

    batches: tuple[str, ...]
    taken: int
    """Rows that have an answer now."""
    changed: int
    """Of these, rows that had another answer before."""
    empty: int
    """Rows of the files without an answer."""
    missing: int
    """Rows handed out that are in none of the files, or empty there."""
    disagreements: tuple[str, ...] = ()
    """Rows on which people disagree; they are left out where answers are labels."""
    agreement: str = ""
    """How far two people agree, where two answered the same rows."""
    unchanged_suggestions: int = 0
    """Answers that are the model's own, as it was suggested."""
    windows: dict[str, int]
    """Labelled rows of each window by now, by its path."""
    files: tuple[str, ...]
    """Where the answers are."""
    gain: tuple[Difference, ...] = ()
    data_version: str | None = None
    """DVC's hash of `data/` with the answers; None where it is not recorded."""
