"""Versions, the aliases that point at them, and the decisions by which people move these."""

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

from pydantic import Field

from tasks.core.values import Value

Action: TypeAlias = Literal["approve", "reject", "rollback"]
Outcome: TypeAlias = Literal["approved", "rejected", "rolled_back", "superseded"]
_OUTCOMES: dict[Action, Outcome] = {
    "approve": "approved",
    "reject": "rejected",
    "rollback": "rolled_back",
}


class Aliases(Value):
    """The version number that each alias points at."""

    champion: int | None = None
    """In use, approved by a person."""
    challenger: int | None = None
    """Passed its verdict and waits for a person."""
    previous: int | None = None
    """The champion before, which a rollback brings back."""

    def of(self, version: int) -> tuple[str, ...]:
        """The aliases that point at a version, sorted."""
        return tuple(sorted(name for name, number in self if number == version))


class Version(Value):
    """One registered version."""

    name: str
    number: int
    round: str | None
    verdict: Literal["passed", "failed"] | str | None
    decision: Outcome | str | None
    """None until somebody or something has decided."""
    created: str
    """ISO 8601 in UTC."""
    run_id: str
    model_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = Field(repr=False)

    @property
    def waiting(self) -> bool:
        """Whether it passed its verdict and nobody has decided on it."""
        return self.verdict == "passed" and self.decision is None

    @property
    def was_champion(self) -> bool:
        """Whether a person has approved it once, so that it may be approved again."""
        return self.decision in ("approved", "rolled_back")


class Decision(Value):
    """What a person has decided, with the aliases before and after it."""

    action: Action
    version: int
    """The version that is approved, rejected or rolled back to."""
    by: str
    comment: str
    at: str
    """ISO 8601 in UTC."""
    before: Aliases
    after: Aliases

    @property
    def subject(self) -> int:
        """The version whose tags tell of this decision; of a rollback, the champion that goes."""
        return (self.before.champion or 0) if self.action == "rollback" else self.version

    @property
    def outcome(self) -> Outcome:
        """What the subject's tag `decision` says afterwards."""
        return _OUTCOMES[self.action]

    def moves(self) -> Iterator[tuple[str, int | None]]:
        """Alias and its new version, in the order in which they are set.

        `previous` is set before `champion` moves, so that there is always a way back, and
        `challenger` is deleted last.
        """
        for name in ("previous", "champion", "challenger"):
            number = getattr(self.after, name)
            if number != getattr(self.before, name):
                yield name, number

    def version_tags(self) -> dict[str, str]:
        """Tags of the subject."""
        return {
            "decision": self.outcome,
            "decided_by": self.by,
            "decided_at": self.at,
            "comment": self.comment,
        }
