"""What is told, as a value."""

from datetime import UTC, datetime
from typing import Literal, TypeAlias, get_args

from pydantic import Field

from tasks.core.values import Value

EventName: TypeAlias = Literal[
    "waiting", "reminder", "expired", "decided", "overridden", "tampering", "drift"
]
EVENTS: tuple[EventName, ...] = get_args(EventName)
"""A candidate waits; still waits; its form has expired; a person has decided; a person has approved
a candidate whose gates did not pass; the registry is not what the decision log says; traffic is not
what the champion was trained on any more."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Event(Value):
    """Something that happened to a version, or to a model's traffic.

    `by`, `comment`, `reason` and `problems` are texts of people and programs: whoever shows them
    escapes them.
    """

    event: EventName
    model: str
    version: int | None = None
    """None: the event is about the registry as a whole."""
    action: str | None = None
    """Of a decision: approve, reject, rollback."""
    by: str | None = None
    comment: str | None = None
    reason: str | None = None
    """Why the gates were overridden; of drift, which windows and how sure it is."""
    problems: tuple[str, ...] = ()
    """What does not hold, a sentence each; of drift, what people are asked for."""
    page: str | None = None
    """The version's page in MLflow."""
    form: str | None = None
    """The form in Prefect that waits for an answer."""
    at: str = Field(default_factory=_now)
    """ISO 8601 in UTC."""

    @property
    def sentence(self) -> str:
        """What happened, without texts of others."""
        what = self.model if self.version is None else f"{self.model} version {self.version}"
        return {
            "waiting": f"{what} passed its gates and waits for a decision.",
            "reminder": f"{what} still waits for a decision.",
            "expired": f"Nobody decided on {what} in time: it was not promoted and still waits.",
            "decided": f"{what}: {self.action}.",
            "overridden": f"{what} was approved although its gates did not pass.",
            "tampering": f"The registry of {what} is not what the decision log says.",
            "drift": f"The traffic of {what} has drifted.",
        }[self.event]
