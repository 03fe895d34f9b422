"""Versions, the aliases that point at them, and the decisions by which people move these."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from tasks.core.errors import BadInput

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

Aliases = dict[str, int | None]
"""Version number under each of `champion`, `challenger` and `previous`, or None."""

ALIASES = ("champion", "challenger", "previous")
ROUND_TAG = "perpetune.round"
MODEL_TAG = "perpetune.model_id"
_OUTCOMES = {"approve": "approved", "reject": "rejected", "rollback": "rolled_back"}
_NAME_CHARACTERS = 200
_COMMENT_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version.

    `verdict` is `passed` or `failed`; `decision` is None until somebody or something has decided:
    `approved`, `rejected`, `rolled_back`, or `superseded` by a later candidate.
    """

    name: str
    number: int
    round: str | None
    verdict: str | None
    decision: str | None
    created: str
    run_id: str
    model_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, entity: "ModelVersion", aliases: Mapping[str, str]) -> "Version":
        """The version as MLflow gives it; one that others registered lacks most of our tags.

        Args:
            entity: the version.
            aliases: all aliases of its model; MLflow's searches leave them out of versions.
        """
        tags = dict(entity.tags)
        created = datetime.fromtimestamp(entity.creation_timestamp / 1000, UTC)
        return cls(
            name=entity.name,
            number=int(entity.version),
            round=tags.get(ROUND_TAG),
            verdict=tags.get("verdict"),
            decision=tags.get("decision"),
            created=created.isoformat(timespec="seconds"),
            run_id=entity.run_id or "",
            model_id=tags.get(MODEL_TAG, ""),
            aliases=tuple(sorted(a for a, n in aliases.items() if str(n) == str(entity.version))),
            tags=tags,
        )

    @property
    def waiting(self) -> bool:
        """Whether it passed the judge and nobody has decided on it."""
        return self.verdict == "passed" and self.decision is None

    @property
    def reinstatable(self) -> bool:
        """Whether a person has approved it once."""
        return self.decision in ("approved", "rolled_back")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person has decided: `version` is the one that is approved, rejected or rolled back to.

    `at` is ISO 8601 in UTC; `before` and `after` say where the aliases stood and stand.
    """

    action: Literal["approve", "reject", "rollback"]
    version: int
    by: str
    comment: str
    at: str
    before: Aliases
    after: Aliases

    @property
    def marked(self) -> int:
        """The version whose tags tell of this decision; of a rollback, the one that goes."""
        return (self.before["champion"] or 0) if self.action == "rollback" else self.version

    def version_tags(self) -> dict[str, str]:
        """Tags of the marked version."""
        return {
            "decision": _OUTCOMES[self.action],
            "decided_by": self.by,
            "decided_at": self.at,
            "comment": self.comment,
        }

    def run_tags(self) -> dict[str, str]:
        """The whole decision as tags of the run that records it."""
        return {
            "action": self.action,
            "version": str(self.version),
            "by": self.by,
            "comment": self.comment,
            "at": self.at,
            "before": json.dumps(self.before),
            "after": json.dumps(self.after),
        }

    @classmethod
    def read(cls, run: "Run") -> "Decision":
        """The decision that a run records."""
        tags: dict[str, Any] = run.data.tags
        return cls(
            action=tags["action"],
            version=int(tags["version"]),
            by=tags["by"],
            comment=tags.get("comment", ""),
            at=tags["at"],
            before=json.loads(tags["before"]),
            after=json.loads(tags["after"]),
        )


def aliases_of(versions: Iterable[Version]) -> Aliases:
    """Where the three aliases stand."""
    aliases: Aliases = dict.fromkeys(ALIASES)
    for version in versions:
        aliases |= {alias: version.number for alias in version.aliases if alias in aliases}
    return aliases


def check_person(by: str, comment: str) -> None:
    """See that a decision has somebody behind it, and that both texts can be stored as they are.

    Raises:
        BadInput: no name, or a text that is too long or no valid text.
    """
    if not by.strip():
        raise BadInput("a decision needs a person: give a name with --by NAME")
    for option, text, limit in (
        ("--by", by, _NAME_CHARACTERS),
        ("--comment", comment, _COMMENT_CHARACTERS),
    ):
        if len(text) > limit:
            raise BadInput(f"{option}: {len(text)} characters; at most {limit} are kept")
        # No NUL, which Postgres refuses, and no half of a surrogate pair, which no database takes.
        if re.search(r"[\x00\ud800-\udfff]", text):
            raise BadInput(f"{option}: holds a character that cannot be stored")
