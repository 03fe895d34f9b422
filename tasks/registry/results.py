"""What goes into the registry and what it says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.core.values import Value
from tasks.decisions import Entry, GatesOutcome, Problem, Review


@dataclass(frozen=True)
class Candidate:
    """What a round has brought, to be registered as one version."""

    adapter: Path
    """Plain PEFT adapter folder, whose base is not stored, or a whole model's."""
    passed: bool
    verdict: Mapping[str, Any]
    """The verdict as JSON, kept as `verdict.json` with the run."""
    card: str
    """Markdown that describes the version; kept whole as `card.md` with the run."""
    artifacts: tuple[Path, ...] = ()
    """Files and folders, kept under their names with the run."""
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Figures of the round, nested as they are."""
    authors: tuple[str, ...] = ()
    """Further names of whoever started the round, beside those that this machine knows."""

    @property
    def outcome(self) -> GatesOutcome:
        """How the gates ended. Only what is passed by `passed` and by the verdict is passed."""
        said = self.verdict.get("outcome")
        if self.passed is True and said in (None, "passed"):
            return "passed"
        return "cannot decide" if said == "cannot decide" else "failed"


class Pending(Value):
    """A version that waits for a person."""

    version: int
    verdict: GatesOutcome | None
    round: str | None
    created: str
    """ISO 8601 in UTC."""
    run_id: str
    metrics: dict[str, float]
    digest: str
    """Of all that a person who decides has to see; `approve` takes it as `seen`."""
    approvals: tuple[str, ...] = ()
    """Who has approved it so far."""
    missing: int = 1
    """Approvals that are missing."""
    reviews: tuple[Review, ...] = ()


class Status(Value):
    """Where the aliases stand, and what waits for a decision."""

    model: str
    champion: int | None = None
    challenger: int | None = None
    previous: int | None = None
    pending: tuple[Pending, ...] = ()
    warnings: tuple[str, ...] = Field(default=())
    """Sentences with what puts things right; empty in good order."""


class RunCounts(Value):
    """How many rounds and trials MLflow has, by how they ended."""

    rounds: Mapping[str, int]
    """By MLflow's status of the run: RUNNING, FINISHED, FAILED, KILLED."""
    trials: Mapping[str, int]
    """By state of the trial: complete, pruned, failed."""
    last_success: float | None
    """When the last round finished, in seconds since 1970."""


class Audit(Value):
    """Whether the decision log holds, and MLflow agrees with it."""

    model: str
    holds: bool
    log: str
    """Where it is."""
    head: str
    """Hash of its last entry: whoever has noted it sees later whether the log was replaced."""
    entries: tuple[Entry, ...]
    """Those that hold, oldest first."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    """What is no fault, such as a version that was deleted and never was champion."""
