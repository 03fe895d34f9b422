"""How the steps of a flow are run again: when that may help, how often, and after which pauses."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from prefect import State, Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun

from tasks.core.errors import Unavailable, first_line

log = logging.getLogger(__name__)

PAUSES = [5.0, 15.0, 60.0, 180.0]
"""Seconds before each further try; a server that restarts is back by then."""


def may_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a step failed because something did not answer, so that another try may help."""
    del task, run
    try:
        state.result()
    except Unavailable:
        return True
    except Exception:
        return False
    return False


step: Callable[..., Any] = partial(
    task,
    retries=len(PAUSES),
    retry_delay_seconds=PAUSES,
    retry_jitter_factor=0.3,
    retry_condition_fn=may_pass,
    # Each step keeps what it has done in a store of its own, which knows when it is out of date.
    cache_policy=NO_CACHE,
    persist_result=False,
)
"""A task that is tried again where `may_pass` says so, and whose result Prefect does not keep."""


def tries_at_first() -> int:
    """How often the first step of a flow is tried again: not where a person waits for the answer.

    They may have mistyped an address.
    """
    from prefect.runtime import deployment

    return len(PAUSES) if deployment.id else 0


def tag_run(*tags: str) -> None:
    """Add tags to the present flow run, by which it is found; a server that is away is no error."""
    from prefect import get_client
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    run = context.flow_run
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(run.id, tags=sorted({*run.tags, *tags}))
    except Exception as error:
        log.info("the run has no tags: %s", first_line(error))
