"""What waits for a decision once the platform runs, and MLflow's webhook: what `up` does last."""

import logging

from flows.forms import Request, tend_forms
from perpetune.platform.results import RunningPlatform, Waiting
from tasks.core.errors import PerpetuneError
from tasks.registry import Registry, register_webhook

log = logging.getLogger(__name__)


def with_links(platform: RunningPlatform, request: Request) -> RunningPlatform:
    """`platform` with the pages of MLflow to begin at, and the versions that wait.

    The form of a version that has none is opened. A problem with any of it is logged: the platform
    runs.
    """
    try:
        register_webhook(request.settings)
    except PerpetuneError as error:
        log.warning("MLflow's webhook is not registered: %s", error)
    try:
        registry = Registry(request.settings)
        registry.reconcile()
        forms = {form.version: form.url for form in tend_forms(request)}
        waiting = tuple(
            Waiting(
                version=item.version,
                version_url=registry.links.version(item.version),
                review_url=registry.links.review_sheet(item.run_id),
                form_url=forms.get(item.version),
            )
            for item in registry.status().pending
        )
        update = {"waiting": waiting, "rounds_url": registry.links.rounds()}
        return platform.model_copy(update=update)
    except PerpetuneError as error:
        log.warning("what waits for a decision is not known: %s", error)
        return platform
