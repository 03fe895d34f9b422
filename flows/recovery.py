"""Cleans up after a round that was killed without a platform.

On the platform a worker notices when a flow's process dies. Without a platform nothing does:
Prefect's temporary server stays without a parent, and the run is Running for ever.
"""

import logging
import os

import psutil
from prefect import State, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.runtime import flow_run
from prefect.states import Crashed

from flows.server import has_server

log = logging.getLogger(__name__)

_SERVER = "prefect.server.api.server:create_app"


def recover(model: str | None) -> None:
    """End orphaned temporary servers of this project and mark dead rounds as crashed.

    To be called under the round's lock: then no other round of the model is alive. On a platform
    it does nothing.

    Args:
        model: whose rounds; another model's may be alive.
    """
    if has_server():
        return
    for process in psutil.process_iter():
        try:
            orphaned = process.ppid() <= 1 and _SERVER in process.cmdline()
            if orphaned and process.environ().get("PREFECT_HOME") == os.environ["PREFECT_HOME"]:
                log.info("ending the temporary server of a round that was killed")
                process.terminate()
        except psutil.Error:
            continue
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["retrain"])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Running"]))
            ),
        )
        for run in runs:
            if str(run.id) != flow_run.id and run.parameters.get("model") == model:
                state: State = Crashed(message="Its process ended; a later round took over.")
                client.set_flow_run_state(run.id, state, force=True)
