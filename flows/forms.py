"""Forms in which people decide: runs of the flow `promote` that wait, one for a version at most.

A form is a run, so that Prefect keeps it: no process waits. `tend_forms` keeps forms and candidates
in step. It is called where either may have changed (a round's end, `perpetune up`, a decision at
the command line) and hourly on the platform; calling it again changes nothing.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.server import has_server, no_answer
from tasks.core import files
from tasks.core.errors import PerpetuneError, first_line
from tasks.core.locks import exclusive
from tasks.core.values import Value
from tasks.decisions import Decision, Standing
from tasks.notify import Event, EventName, notify
from tasks.registry import Audit, Registry
from tasks.rendering.markdown import one_line
from tasks.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State

log = logging.getLogger(__name__)

DEPLOYMENT = "promote/on-demand"
WAITING = "Awaiting decision"
"""Name of the state of a form that nobody has answered."""
TAG = "needs decision"
_ENDED_BY_PEOPLE = ("Expired", "Cancelled")
_STUCK = timedelta(minutes=30)
"""A decision takes seconds: a run that has been running for longer has lost its process."""


class Form(Value):
    """One open form."""

    version: int
    url: str
    """Prefect's page of the run, whose button `Resume` opens the form."""


@dataclass(frozen=True)
class Request:
    """The project for which is asked, and how its settings are found in another process."""

    settings: Settings
    params: str
    overrides: Sequence[str]
    model: str | None = None


def tend_forms(request: Request, *, reopen: bool = True) -> tuple[Form, ...]:
    """Open the form of the candidate that waits, close the others, remind, let expire.

    Nothing happens without a Prefect server that stays. A server that does not answer is no error
    here: decisions can be made without it.

    Args:
        request: the project.
        reopen: also open a form again that a person has cancelled or that has expired.

    Returns:
        The forms that are open now.

    Raises:
        PerpetuneError: the registry cannot be read.
    """
    if not has_server():
        return ()
    settings = request.settings
    busy = PerpetuneError("another process has been opening forms for a minute; try again")
    lock = settings.project.model_dir.absolute() / "locks" / "forms.lock"
    with exclusive(lock, busy, seconds=60):
        registry = Registry(settings)
        try:
            with _client() as client:
                return _Tending(client, registry, request).tend(reopen=reopen)
        except no_answer() as error:
            log.warning(
                "%s: decide at the command line, or open the form later with `perpetune up`",
                _why_none(error),
            )
    return ()


class _Tending:
    """One look at the forms of a project."""

    def __init__(self, client: "SyncPrefectClient", registry: Registry, request: Request) -> None:
        self._client = client
        self._registry = registry
        self._request = request
        self._settings = request.settings

    def tend(self, *, reopen: bool) -> tuple[Form, ...]:
        state = self._registry.versions.state()
        waiting = state.aliases.challenger
        kept: list[Form] = []
        for run in self._runs(open_only=True):
            number = int(run.parameters["version"])
            if number != waiting or kept:
                self._close(run, _why_not(state.versions.get(number)))
            elif not self._let_expire(run) and not self._stuck(run):
                self._remind(run)
                kept.append(Form(version=number, url=form_url(run.id)))
        if waiting is not None and not kept and (reopen or not self._ended_by_people(waiting)):
            kept.append(self._open(waiting))
        return tuple(kept)

    def _open(self, number: int) -> Form:
        """The form of a version: a run that is not over, made once however many ask for it."""
        name = self._settings.project.name
        asked = len(self._runs(number))
        deployment = self._client.read_deployment_by_name(DEPLOYMENT)
        while True:
            run = self._client.create_flow_run_from_deployment(
                deployment.id,
                parameters={
                    "version": number,
                    "params": self._request.params,
                    "overrides": list(self._request.overrides),
                    "model": self._request.model,
                },
                name=f"Decide on {name} version {number}",
                tags=[TAG, *_tags(name, number)],
                # The server makes one run of a key: two processes that counted alike share it.
                idempotency_key=f"decide-{name}-{number}-{asked}",
            )
            if run.state is None or not run.state.is_final():
                break
            asked += 1  # a run that is over, of a count that others have counted on
        form = Form(version=number, url=form_url(run.id))
        log.info("version %s waits for a decision: %s", number, form.url)
        self._tell("waiting", number, form.url)
        return form

    def _tell(self, name: EventName, number: int, form: str | None = None) -> None:
        page = self._registry.links.version(number)
        model = self._settings.project.name
        notify(self._settings, Event(event=name, model=model, version=number, page=page, form=form))

    def _close(self, run: "FlowRun", reason: tuple[str, str]) -> None:
        from prefect.states import Cancelled, Completed

        name, message = reason
        state = run.state
        if state is None or not (state.is_paused() or state.is_scheduled()):
            return  # it runs, and will see for itself
        make = Cancelled if name == "Superseded" else Completed
        self._end(run, make(name=name, message=message))
        log.info("closed the form of version %s: %s", run.parameters["version"], message)

    def _let_expire(self, run: "FlowRun") -> bool:
        """Whether nobody has answered in time; then the run ends, and the candidate stays."""
        from prefect.states import Cancelled

        hours = self._settings.platform.approval_timeout_hours
        if not _paused(run) or _age(run) < timedelta(hours=hours):
            return False
        number = int(run.parameters["version"])
        message = (
            f"Nobody decided in {hours:g} hours. Version {number} was not promoted and still "
            "waits; `perpetune up` opens a new form."
        )
        self._end(run, Cancelled(name="Expired", message=message))
        log.info("the form of version %s has expired", number)
        self._tell("expired", number)
        return True

    def _stuck(self, run: "FlowRun") -> bool:
        from prefect.states import Crashed

        state = run.state
        if state is None or not state.is_running():
            return False
        if datetime.now(UTC) - state.timestamp < _STUCK:
            return False
        self._end(run, Crashed(message="Its process ended; a new form takes over."))
        return True

    def _remind(self, run: "FlowRun") -> None:
        hours = self._settings.platform.reminder_hours
        if not hours or not _paused(run):
            return
        due = int(_age(run).total_seconds() / 3600 / hours)
        if due <= max((int(tag.split()[-1]) for tag in run.tags if _is_reminder(tag)), default=0):
            return
        kept = [tag for tag in run.tags if not _is_reminder(tag)]
        # Written first: one reminder too few is better than one each time.
        self._client.update_flow_run(run.id, tags=[*kept, f"reminder {due}"])
        self._tell("reminder", int(run.parameters["version"]), form_url(run.id))

    def _end(self, run: "FlowRun", state: object) -> None:
        self._client.set_flow_run_state(run.id, state, force=True)  # type: ignore[arg-type]
        self._client.update_flow_run(run.id, tags=[tag for tag in run.tags if tag != TAG])

    def _ended_by_people(self, version: int) -> bool:
        runs = self._runs(version)
        last = min(runs, key=_age, default=None)
        return bool(last and last.state and last.state.name in _ENDED_BY_PEOPLE)

    def _runs(self, version: int | None = None, *, open_only: bool = False) -> "list[FlowRun]":
        """The forms of this project, of one version or all, oldest first."""
        from prefect.client.schemas import filters
        from prefect.client.schemas.objects import TERMINAL_STATES, StateType
        from prefect.client.schemas.sorting import FlowRunSort

        types = [kind for kind in StateType if not open_only or kind not in TERMINAL_STATES]
        tags = _tags(self._settings.project.name, version)
        found: list[FlowRun] = []
        while True:
            page = self._client.read_flow_runs(
                flow_filter=filters.FlowFilter(name=filters.FlowFilterName(any_=["promote"])),
                flow_run_filter=filters.FlowRunFilter(
                    tags=filters.FlowRunFilterTags(all_=tags),
                    state=filters.FlowRunFilterState(
                        type=filters.FlowRunFilterStateType(any_=types)
                    ),
                ),
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                offset=len(found),
            )
            found += page
            if not page:
                return found


def ended(registry: Registry, version: int, *, here: bool) -> "State[Any]":
    """The state in which the run of a form ends whose version waits no longer.

    Args:
        registry: of the version.
        version: its number.
        here: whether the form's own answer was the decision.
    """
    from prefect.states import Cancelled, Completed

    standing = registry.versions.state().versions.get(version)
    name, message = _why_not(standing)
    if here and standing is not None and standing.outcome in ("approved", "rejected"):
        name = standing.outcome.capitalize()
    return (Cancelled if name == "Superseded" else Completed)(name=name, message=message)


def after_decision(request: Request, registry: Registry, decision: Decision) -> None:
    """What follows from a decision at the command line: people are told, its form is closed.

    Neither can fail the decision, which is made.
    """
    tell_of_decision(request.settings, registry, decision)
    try:
        tend_forms(request, reopen=False)
    except PerpetuneError as error:
        log.warning("the form of version %s may be open still: %s", decision.version, error)


def tell_of_tampering(settings: Settings, found: Audit) -> None:
    """Tell `notify.hooks` that the registry is not what the log says: the same problems once."""
    if not settings.notify.hooks:
        return
    told = settings.project.state_dir / "notified" / f"{found.model}.json"
    problems = [str(problem) for problem in found.problems]
    known = files.read_json(told) if told.is_file() else []
    if problems != known:
        if problems:
            notify(settings, Event(event="tampering", model=found.model, problems=tuple(problems)))
        files.write_json(told, problems)


def tell_of_decision(settings: Settings, registry: Registry, decision: Decision) -> None:
    """Tell `notify.hooks` what a person has decided."""
    notify(
        settings,
        Event(
            event="overridden" if decision.override else "decided",
            model=settings.project.name,
            version=decision.version,
            action=decision.action,
            by=decision.by,
            comment=decision.comment or None,
            reason=decision.override or None,
            page=registry.links.version(decision.version),
        ),
    )


def form_url(run_id: UUID) -> str:
    """The page of a run; whoever has not signed in is led to sign in first.

    Where people reach the server under another address than programs, PREFECT_UI_URL has it.
    """
    api = os.environ["PREFECT_API_URL"].removesuffix("/").removesuffix("/api")
    server = (os.environ.get("PREFECT_UI_URL") or api).removesuffix("/")
    return f"{server}/runs/flow-run/{run_id}"


@contextmanager
def _client() -> "Iterator[SyncPrefectClient]":
    from prefect import get_client

    with get_client(sync_client=True) as client:
        yield client


def _why_none(error: BaseException) -> str:
    from prefect.exceptions import ObjectNotFound

    if isinstance(error, ObjectNotFound):
        return f"Prefect's server has no deployment {DEPLOYMENT} (`perpetune deploy` makes it)"
    return f"Prefect does not answer ({first_line(error)})"


def _tags(model: str, version: int | None) -> list[str]:
    return [f"model {model}", *([] if version is None else [f"version {version}"])]


def _is_reminder(tag: str) -> bool:
    return tag.startswith("reminder ") and tag.split()[-1].isdecimal()


def _paused(run: "FlowRun") -> bool:
    return run.state is not None and run.state.is_paused()


def _age(run: "FlowRun") -> timedelta:
    now = datetime.now(UTC)
    return timedelta(seconds=(now - (run.created or now)).total_seconds())


def _why_not(standing: Standing | None) -> tuple[str, str]:
    """Name and message of the state in which the form of a version ends that waits no longer."""
    if standing is None:
        return "Superseded", "The registry has no such version."
    number, entry = standing.number, standing.decided
    if standing.waiting:
        return "Superseded", f"Another form of version {number} is open."
    if standing.outcome == "superseded" or entry is None:
        return "Superseded", f"A newer candidate has taken the place of version {number}."
    outcome = (standing.outcome or "decided").replace("_", " ")
    return "Decided elsewhere", f"Version {number} was {outcome} by {one_line(entry.by)}."
