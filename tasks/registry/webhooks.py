"""MLflow's own webhooks: one that tells a receiver of every change of the registry.

It tells of what others do past Perpetune as well. MLflow sends it
(https://mlflow.org/docs/latest/ml/webhooks/), by default to public addresses over https only:
`MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS` and `MLFLOW_WEBHOOK_ALLOWED_SCHEMES` of the server say otherwise.
"""

import hashlib
import os
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput
from tasks.registry.connection import Connection
from tasks.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.webhook import Webhook

_EVENTS = (
    "model_version.created",
    "model_version_alias.created",
    "model_version_alias.deleted",
    "model_version_tag.set",
    "model_version_tag.deleted",
)


def register_webhook(settings: Settings) -> str | None:
    """Bring the project's webhook on MLflow's server to what `notify.mlflow` says.

    It can be called again and again; other people's webhooks are left alone.

    Returns:
        The webhook's id; None: none is wanted, and none is left.

    Raises:
        BadInput: an environment variable of the settings is not set.
        PerpetuneError: MLflow refuses the address, or cannot be reached.
    """
    wanted = settings.notify.mlflow
    url = _value(wanted.url) if wanted.url else None
    secret = _value(f"env:{wanted.secret}") if wanted.secret else None
    name = _name(settings.project.name)
    with Connection(settings).client() as client:
        known = _find(client, name)
        if url is not None and secret is not None and known:
            client.update_webhook(known[0].webhook_id, url=url, events=_events(), secret=secret)
            return str(known[0].webhook_id)
        # A secret cannot be taken away from a webhook: one without starts anew.
        for webhook in known:
            client.delete_webhook(webhook.webhook_id)
        if url is None:
            return None
        made = client.create_webhook(name, url, _events(), secret=secret)
        return str(made.webhook_id)


def _events() -> "list[Any]":
    from mlflow.entities.webhook import WebhookEvent

    return [WebhookEvent(*name.split(".")) for name in _EVENTS]


def _name(model: str) -> str:
    """A name that MLflow takes: at most 62 characters, the last a letter or digit."""
    return f"perpetune.{model[:40]}.{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def _find(client: "MlflowClient", name: str) -> "list[Webhook]":
    found: list[Webhook] = []
    token = None
    while True:
        page = client.list_webhooks(page_token=token)
        found += [webhook for webhook in page if webhook.name == name]
        token = page.token
        if not token:
            return found


def _value(setting: str) -> str:
    """A setting, or the value of the environment variable that it names as `env:NAME`."""
    if not setting.startswith("env:"):
        return setting
    variable = setting.removeprefix("env:")
    value = os.environ.get(variable)
    if not value:
        raise BadInput(f"notify.mlflow: the environment variable {variable} is not set")
    return value
