"""What Prefect has to do: flow runs that wait, run, or have failed; for the metrics."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tasks.core.errors import PerpetuneError, first_line

if TYPE_CHECKING:
    from prefect.client.schemas.filters import FlowRunFilter

_OPEN = ("PENDING", "RUNNING", "PAUSED", "CANCELLING")
_LIMIT = 200
DAY = timedelta(days=1)


def open_runs() -> Mapping[str, int]:
    """Flow runs that have not ended, by the name of their state, at most 200 of a kind.

    Runs of the future that a schedule has made are left out: only those that are due count, as
    `Late` where no worker has taken them for some seconds.

    Raises:
        PerpetuneError: the server cannot be asked.
    """
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterNextScheduledStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    types = [StateType[name] for name in _OPEN]
    begun = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)))
    scheduled = FlowRunFilterStateType(any_=[StateType.SCHEDULED])
    due = FlowRunFilter(
        state=FlowRunFilterState(type=scheduled),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime.model_validate(
            {"before_": datetime.now(UTC)}
        ),
    )
    return Counter(name for chosen in (begun, due) for name in _names(chosen))


def failed_runs(since: timedelta = DAY) -> int:
    """Flow runs that failed or crashed in this time, at most 200.

    Raises:
        PerpetuneError: the server cannot be asked.
    """
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterEndTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    ended = FlowRunFilterStateType(any_=[StateType.FAILED, StateType.CRASHED])
    chosen = FlowRunFilter(
        state=FlowRunFilterState(type=ended),
        end_time=FlowRunFilterEndTime.model_validate({"after_": datetime.now(UTC) - since}),
    )
    return len(_names(chosen))


def _names(chosen: "FlowRunFilter") -> list[str]:
    import httpx
    from prefect import get_client
    from prefect.exceptions import PrefectException, PrefectHTTPStatusError

    try:
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=chosen, limit=_LIMIT)
    except (httpx.HTTPError, PrefectHTTPStatusError, PrefectException, RuntimeError) as error:
        raise PerpetuneError(f"Prefect cannot be asked: {first_line(error)}") from None
    return [run.state_name or "unknown" for run in runs]
