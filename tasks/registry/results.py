"""What goes into the registry and what it says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.core.values import Value


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


class Pending(Value):
    """A version that waits for a person."""

    version: int
    verdict: str | None
    round: str | None
    created: str
    """ISO 8601 in UTC."""
    run_id: str
    metrics: dict[str, float]


class Status(Value):
    """Where the aliases stand, and what waits for a decision."""

    model: str
    champion: int | None = None
    challenger: int | None = None
    previous: int | None = None
    pending: tuple[Pending, ...] = ()
    warnings: tuple[str, ...] = Field(default=())
    """Sentences; empty in good order."""
