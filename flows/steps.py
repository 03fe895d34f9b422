"""How the steps of a flow are run again: when that may help, how often, and after which pauses."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from prefect import State, Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun

from flows.server import no_answer
from tasks.core.errors import Unavailable, first_line

log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_R = TypeVar("_R")
PAUSES = [5.0, 15.0, 60.0, 180.0]
"""Seconds before each further try; a server that restarts is back by then."""


def may_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a step failed because something did not answer, so that another try may help."""
    del task, run
    return isinstance(state.result(raise_on_failure=False), Unavailable)


def step(
    name: str, *, shown: str = "", hours: float | None = None, tags: Sequence[str] = ()
) -> Callable[[Callable[_P, _R]], Task[_P, _R]]:
    """A task that is tried again where `may_pass` says so, and whose result Prefect does not keep.

    Args:
        name: of the task.
        shown: the name of its runs, with fields for arguments; the task's by default.
        hours: after which it is ended.
        tags: of its runs.
    """
    return task(
        name=name,
        task_run_name=shown or name,
        tags=tags,
        timeout_seconds=None if hours is None else 3600 * hours,
        retries=len(PAUSES),
        retry_delay_seconds=PAUSES,
        retry_jitter_factor=0.3,
        retry_condition_fn=may_pass,
        # Each step keeps what it has done in a store of its own, which knows when it is out of
        # date.
        cache_policy=NO_CACHE,
        persist_result=False,
    )


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
    except no_answer() as error:
        log.info("the run has no tags: %s", first_line(error))
