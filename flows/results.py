"""What the flows return."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from tasks.core.values import Value
from tasks.curate import CurationCounts
from tasks.drift import DriftTest, Look, RowCounts
from tasks.evaluate import Verdict
from tasks.registry import Status
from tasks.tune.sweep import SweepResult
from tasks.watch import Alarm, Looked


class RoundData(CurationCounts):
    """What curation kept and dropped, of which data, and where."""

    version: str | None
    """DVC's hash of `data/`; None outside a DVC project."""
    folder: str


class Links(Value):
    """Pages on which a version is read and decided."""

    version: str
    """Of MLflow, in the view in which models are trained."""
    review: str
    """The review sheet in MLflow."""
    form: str | None
    """The form in Prefect that waits; None: none is open."""


class Round(Value):
    """One round: its data, its trials, the verdict, and the version that came of it."""

    key: str = Field(alias="round")
    """Equal keys mean equal rounds; see `flows.round.round_key`."""
    reason: str
    folder: str
    data: RoundData
    sweep: SweepResult | None
    verdict: Verdict | None
    version: int
    new: bool
    """Whether this round registered the version; False: nothing had changed since."""
    status: Status
    links: Links
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no gate refused the candidate."""
        return self.verdict is None or self.verdict.passed

    def to_json(self) -> dict[str, Any]:
        """The value as JSON-able types; a verdict says whether it passed."""
        return super().to_json() | {"verdict": self.verdict and self.verdict.to_json()}


class Done(Value):
    """One part of the housekeeping, and what came of it."""

    name: str
    well: bool
    what: str


class Housekept(Value):
    """The parts of the weekly housekeeping, in their order."""

    done: tuple[Done, ...]

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        return "; ".join(f"{part.name}: {part.what}" for part in self.done)


class WindowCheck(Value):
    """What a watch found of one window."""

    window: str
    status: Literal["quiet", "drift", "undecidable"]
    why: str
    """The status in a sentence."""
    drift: bool
    p_value: float | None
    """Of the comparison that decided; None: there was none."""
    alpha: float | None
    """What that comparison may spend of the yearly chance of a false alarm."""
    pooled: int
    """Number of windows that it took together; 0: none."""
    tests: tuple[DriftTest, ...]
    rows: RowCounts | None
    """Rows that were compared."""
    labelled: int
    """Records of the window with an answer."""
    bad_lines: int
    """Lines of the window that are no records; the others were used."""
    first_bad: str | None
    report: str | None

    @classmethod
    def of(cls, looked: Looked, look: Look) -> Self:
        """The check of a window that was looked at.

        Args:
            looked: as the history has it.
            look: with its result.
        """
        deciding = look.scales[-1 if look.status == "drift" else 0] if look.scales else None
        report = Path(looked.folder) / "report.html"
        return cls(
            window=looked.window,
            status=look.status,
            why=look.why,
            drift=look.status == "drift",
            p_value=deciding.p_value if deciding else None,
            alpha=deciding.alpha if deciding else None,
            pooled=deciding.windows if deciding else 0,
            tests=look.result.tests if look.result else (),
            rows=look.result.rows if look.result else None,
            labelled=looked.labelled,
            bad_lines=looked.bad,
            first_bad=looked.first_bad,
            report=str(report) if report.is_file() else None,
        )

    @classmethod
    def put_off(cls, window: str, why: str) -> Self:
        """A window that is not whole yet, and is looked at by a later watch."""
        return cls(
            window=window,
            status="undecidable",
            why=f"{why}; looked at later",
            drift=False,
            p_value=None,
            alpha=None,
            pooled=0,
            tests=(),
            rows=None,
            labelled=0,
            bad_lines=0,
            first_bad=None,
            report=None,
        )


class Watched(Value):
    """The windows that were looked at, the alarm that is open, and what became of it."""

    champion: int | None
    """The version whose reference the windows were compared with."""
    windows: tuple[WindowCheck, ...]
    alarm: Alarm | None = None
    """The newest alarm that no round has answered."""
    told: bool = False
    """Whether this watch started a round: by its event, or here."""
    notes: tuple[str, ...] = ()
    """What is asked of people, and what was put off, a sentence each."""
    retrain: Round | None = None
    """The round that ran here."""

    def to_json(self) -> dict[str, Any]:
        """The value as JSON-able types; see `Round`."""
        return super().to_json() | {"retrain": self.retrain and self.retrain.to_json()}
