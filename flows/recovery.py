"""Puts right what a process leaves behind that is killed: a run that is Running for ever.

A worker that lives reports the death of a flow's process. Nobody does where the worker has died
too, where a round was started by hand, or where the server was away. So each flow records the
process that works on it (`alive`), and later ones look whether it still runs (`recover`).
"""

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

import psutil

from flows.server import has_server
from tasks.core import files
from tasks.core.errors import PerpetuneError
from tasks.core.values import Value
from tasks.settings import Settings

if TYPE_CHECKING:
    from prefect import State
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

log = logging.getLogger(__name__)

FLOWS = ("retrain", "watch", "forms", "housekeeping")
"""Those of which a run that lost its process is ended here; forms see to `promote` themselves."""
_START = re.compile(r"start \d{1,3}")
_STARTS = 3
"""How often a round starts at most; each start goes on where the one before ended."""
_SERVER = "prefect.server.api.server:create_app"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SAME_START = 2.0  # seconds; the time at which a process started is known to the second only
_UNBORN = timedelta(minutes=10)
"""From Pending to Running takes seconds: a run that has waited for longer has lost its process."""


class Worker(Value):
    """The process that works on a flow run."""

    run: str
    host: str
    pid: int
    started: float
    """Seconds after the machine's start, which setting the clock does not change."""

    def lives(self) -> bool:
        """Whether the process still runs, as far as this machine can tell."""
        if self.host != socket.gethostname():
            return True
        try:
            return abs(_started(psutil.Process(self.pid)) - self.started) < _SAME_START
        except psutil.Error:
            return False


@contextmanager
def alive(settings: Settings) -> Iterator[None]:
    """Record that this process works on the present flow run, as long as the context is open."""
    from prefect.runtime import flow_run

    if flow_run.id is None:
        yield
        return
    path = _folder(settings) / f"{flow_run.id}.json"
    started = _started(psutil.Process())
    worker = Worker(run=flow_run.id, host=socket.gethostname(), pid=os.getpid(), started=started)
    files.write_json(path, worker.to_json())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def recover(settings: Settings) -> tuple[str, ...]:
    """Mark runs whose process has died as crashed, which frees their places in queues.

    A round of the platform starts again, up to three times in all. Without a platform, orphaned
    temporary servers of this project are ended as well.

    Returns:
        The names of the runs that were marked.
    """
    if not has_server():
        _end_orphaned_servers()
    found: list[FlowRun] = []
    dead = {path: _read(path) for path in sorted(_folder(settings).glob("*.json"))}
    dead = {path: worker for path, worker in dead.items() if worker is None or not worker.lives()}
    if not dead and not has_server():
        return ()
    from prefect import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        for path, worker in dead.items():
            with suppress(ObjectNotFound, ValueError):
                if worker is not None:
                    found.append(client.read_flow_run(UUID(worker.run)))
            path.unlink(missing_ok=True)
        if has_server():
            found += _lost(client)
        return tuple(run.name for run in found if _end(client, run))


def resume(flow: Any, flow_run: "FlowRun", state: "State[Any]") -> None:
    """Hook of a crashed round: the worker, or the dying process itself, starts it again."""
    del flow, state
    from prefect import get_client

    with get_client(sync_client=True) as client:
        _start_again(client, client.read_flow_run(flow_run.id))


def _end(client: "SyncPrefectClient", run: "FlowRun") -> bool:
    """Mark a run as crashed unless it is over, and start it again; whether it was marked here."""
    from prefect.states import Cancelled, Crashed

    state = run.state
    if state is None or state.is_scheduled() or state.is_paused():
        return False
    if state.is_crashed():
        _start_again(client, run)
    if state.is_final():
        return False
    message = "Its process ended without a word, killed say."
    stopped = state.is_cancelling()
    after: State[Any] = (Cancelled if stopped else Crashed)(message=message)
    client.set_flow_run_state(run.id, after, force=True)
    log.warning("the run %s had lost its process: it is %s now", run.name, after.name)
    if not stopped:
        _start_again(client, run)
    return True


def _start_again(client: "SyncPrefectClient", run: "FlowRun") -> None:
    """Let a crashed round of a deployment go on as another run, unless it crashed too often.

    Another run, not the same one again: the worker reports the death of the process some time
    later, and would end it anew.
    """
    if run.deployment_id is None or client.read_flow(run.flow_id).name != "retrain":
        return
    start = max((int(tag.split()[-1]) for tag in run.tags if _START.fullmatch(tag)), default=1)
    if start >= _STARTS:
        log.warning("the round %s crashed %d times: it does not start again", run.name, _STARTS)
        return
    kept = [tag for tag in run.tags if not tag.startswith(("start ", "goes on from "))]
    again = client.create_flow_run_from_deployment(
        run.deployment_id,
        parameters=run.parameters,
        tags=[*kept, f"start {start + 1}", f"goes on from {run.name}"],
        # The server makes one run of a key, however many notice the crash.
        idempotency_key=f"goes-on-from-{run.id}",
    )
    log.info("the round %s goes on as the run %s", run.name, again.id)


def _lost(client: "SyncPrefectClient") -> "list[FlowRun]":
    """Runs of deployments that say they run, whose process recorded nothing and is gone.

    Only of the local platform: what runs on other machines is not known here.
    """
    if urlsplit(os.environ["PREFECT_API_URL"]).hostname not in _LOOPBACK:
        return []
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType

    runs = client.read_flow_runs(
        flow_filter=filters.FlowFilter(name=filters.FlowFilterName(any_=list(FLOWS))),
        flow_run_filter=filters.FlowRunFilter(
            state=filters.FlowRunFilterState(
                type=filters.FlowRunFilterStateType(
                    any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
                )
            ),
        ),
    )
    return [run for run in runs if run.deployment_id is not None and _is_lost(run)]


def _is_lost(run: "FlowRun") -> bool:
    state = run.state
    if state is not None and state.is_pending():
        return datetime.now(UTC) - state.timestamp > _UNBORN
    pid = run.infrastructure_pid or ""
    if not pid.isdecimal():
        return False
    try:
        return "prefect" not in " ".join(psutil.Process(int(pid)).cmdline())
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def _end_orphaned_servers() -> None:
    for process in psutil.process_iter():
        try:
            orphaned = process.ppid() <= 1 and _SERVER in process.cmdline()
            if orphaned and process.environ().get("PREFECT_HOME") == os.environ["PREFECT_HOME"]:
                log.info("ending the temporary server of a round that was killed")
                process.terminate()
        except (psutil.Error, KeyError):
            continue


def _folder(settings: Settings) -> Path:
    return settings.project.state_dir / "working"


def _read(path: Path) -> Worker | None:
    with suppress(OSError, PerpetuneError, ValueError, TypeError):
        return Worker.from_json(files.read_json(path), str(path))
    return None


def _started(process: psutil.Process) -> float:
    return round(process.create_time() - psutil.boot_time(), 2)
