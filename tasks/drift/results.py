"""What a drift check found, as values; `to_json` is what `perpetune drift --json` prints."""

from tasks.core.values import Value


class DriftTest(Value):
    """One test of the check: it differs where `p_value` is at or below `threshold`."""

    name: str
    statistic: float
    """Squared maximum mean discrepancy."""
    p_value: float
    """Corrected for the number of tests."""
    threshold: float


class RowCounts(Value):
    """A number of rows of each side."""

    reference: int
    current: int


class Regime(Value):
    """One kind of traffic in the reference, compared with the window."""

    name: str
    p_value: float
    rows: int


class Sample(Value):
    """What one side of a comparison amounts to."""

    groups: int
    """Independent units: sessions, users, documents, or clusters of near-duplicates."""
    rows: float
    """Independent rows that would tell as much as these rows do (rows / design effect)."""


class Effective(Value):
    """How much evidence each side holds."""

    reference: Sample
    current: Sample


class NotCompared(Value):
    """A feature group that was left out, and why."""

    name: str
    reason: str


class Kind(Value):
    """A kind of shift in words, with what to do about it."""

    name: str
    sentence: str
    remedy: str


class DescriptorShift(Value):
    """A descriptor's medians and its two-sample Kolmogorov–Smirnov test; it decides nothing."""

    name: str
    reference_median: float
    current_median: float
    statistic: float
    p_value: float


class ShiftedTerm(Value):
    """A word whose share of rows changed; `z` above 0: more frequent in the window."""

    group: str
    """The feature group in whose texts it is."""
    term: str
    reference_share: float
    current_share: float
    z: float


class ShiftedExample(Value):
    """A row of the window that shows a difference well; `text` quotes what differs."""

    group: str
    """The feature group that differs."""
    id: str
    source: str
    line: int
    text: str
    witness: float


class DriftResult(Value):
    """Whether a window of traffic comes from another distribution than the reference."""

    drift: bool
    """Whether the p-value of a test is at or below its threshold."""
    p_value: float
    alpha: float
    """Accepted probability of a false alarm."""
    tests: tuple[DriftTest, ...]
    rows: RowCounts
    """Distinct prompts that were compared."""
    read: RowCounts
    """Records that the files held."""
    effective: Effective
    not_compared: tuple[NotCompared, ...]
    permutations: int
    regime: str
    """The regime of the reference that all other figures are of: the nearest."""
    regimes: tuple[Regime, ...]
    descriptors: tuple[DescriptorShift, ...]
    shifted_terms: tuple[ShiftedTerm, ...]
    """Largest z first."""
    examples: tuple[ShiftedExample, ...]
    """Largest witness first."""
    kinds: tuple[Kind, ...] = ()
    """What kind of shift it is; none without drift."""
