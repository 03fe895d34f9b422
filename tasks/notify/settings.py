"""The section `notify`."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from tasks.notify.events import EVENTS, EventName
from tasks.notify.notifiers import NOTIFIERS
from tasks.settings.section import Section, text

Variable = Annotated[
    str, text(r"^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable, not its value")
]
Address = Annotated[
    str,
    text(
        r"^(https?://[^\s@]+|env:[A-Za-z_][A-Za-z0-9_]*)$",
        "http://… or https://… without a user name, or env:NAME of an environment variable",
    ),
]


def _is_notifier(name: str) -> str:
    known = NOTIFIERS.members()
    if name not in known:
        raise PydanticCustomError("no_member", "{names}", {"names": " or ".join(map(repr, known))})
    return name


class Hook(Section):
    """A receiver, and what it is told."""

    KEY = "notify.hooks"

    kind: Annotated[str, AfterValidator(_is_notifier)] = "http"
    """A notifier: `http` (JSON) or `slack` (a text, as Slack, Mattermost and others take it)."""
    url: Address
    """Address; `env:NAME` where it is a secret, as Slack's are."""
    events: list[EventName] = list(EVENTS)
    """What it is told; by default everything."""
    secret: Variable | None = None
    """Environment variable with the key of the signature (HMAC-SHA256); null: not signed."""


class MlflowWebhook(Section):
    """A webhook of MLflow's own registry: it tells of every change, past Perpetune as well."""

    KEY = "notify.mlflow"

    url: Address | None = None
    """Address that `perpetune up` registers with MLflow's server; null: none."""
    secret: Variable | None = None
    """Environment variable with the key of the signature; null: not signed."""


class Notify(Section):
    """Who is told that a candidate waits, of decisions, and of tampering."""

    KEY = "notify"
    READ_BY = ("run", "up", "approve", "reject", "rollback", "audit")

    hooks: list[Hook] = []
    """Receivers: kind, url, events, secret of each."""
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    """Longest that one receiver is waited for, all attempts together."""
    mlflow: MlflowWebhook = Field(default_factory=MlflowWebhook)
