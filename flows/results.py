"""What the flows return."""

from typing import Any

from pydantic import Field

from tasks.core.values import Value
from tasks.curate import CurationCounts
from tasks.drift import DriftResult
from tasks.evaluate import Verdict
from tasks.registry import Status
from tasks.tune.sweep import SweepResult


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


class WindowCheck(DriftResult):
    """The drift check of one window, with the paths of the window and of its report."""

    window: str
    report: str


class Watched(Value):
    """The windows that were checked, and the round that drift started, if one ran here."""

    windows: tuple[WindowCheck, ...]
    retrain: Round | None

    def to_json(self) -> dict[str, Any]:
        """The value as JSON-able types; see `Round`."""
        return super().to_json() | {"retrain": self.retrain and self.retrain.to_json()}
