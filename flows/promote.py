"""A person's decision on a candidate: the flow stops until somebody fills in its form.

    perpetune approve 3 --by Ada        # the same decision at the command line

The run is suspended: no process waits, and what is asked and answered is in Prefect's database.
When somebody has filled in the form, the flow starts again from the top and carries the answer out.
What the registry refuses, for whatever reason, is asked again with the reason in the form.

Prefect does not record who resumed a run, so the form asks for a name; the decision log keeps it as
a claim. A candidate whose gates did not pass has no form: `perpetune approve --override REASON`.
"""

import logging
import time
from pathlib import Path
from typing import Any, cast

from prefect import State, flow, get_client
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, Pause, PrefectHTTPStatusError
from prefect.input import RunInput
from prefect.input.actions import create_flow_run_input, read_flow_run_input
from prefect.input.run_input import Keyset, keyset_from_base_key
from prefect.states import Paused
from prefect.utilities.engine import propose_state_sync
from pydantic import Field

from flows.approval_text import approval_text
from flows.forms import WAITING, Request, ended, tell_of_decision, tell_of_tampering, tend_forms
from flows.recovery import alive, recover
from tasks.core.errors import BadInput, PerpetuneError, Refused
from tasks.core.values import Value
from tasks.registry import Registry
from tasks.settings import Settings, load_settings

log = logging.getLogger(__name__)

_KEY = "decision-"
_PATIENCE = (2, 10, 30)
"""Seconds before trying again where the registry cannot be reached."""


class Approval(RunInput):
    """The form of Prefect's UI."""

    # Not a choice from a list: the classic page's lists do not open by a click.
    action: str = Field(description="Write approve or reject")
    by: str = Field(description="Your name: it is recorded with the decision")
    comment: str = Field(default="", description="Why; for whoever looks back")


class Asked(Value):
    """A question: what its form shows, and the digest of what that describes."""

    text: str
    seen: str | None


@flow(name="promote")
def promote(
    version: int,
    params: str = "params.yaml",
    overrides: list[str] | None = None,
    model: str | None = None,
) -> State[Any]:
    """Wait for a person's decision on `version`, then carry it out.

    Returns:
        A state whose name says how it ended: Approved, Rejected, Superseded or Decided elsewhere.

    Raises:
        PerpetuneError: before the first question the registry could not be read.
    """
    settings = load_settings(Path(params), overrides or [], model)
    registry = Registry(settings)
    question = _questions_asked()
    problem, decided = "", False
    if question:
        answer, seen = _answer(question), _question_before(question).seen
        if answer is None:
            problem = "the run was resumed without an answer that can be used"
        else:
            problem = carry_out(registry, settings, version, answer, seen)
        decided = not problem
    try:
        waits = registry.versions.state().aliases.challenger == version
        asked = _question(registry, settings, version, problem) if waits else None
    except PerpetuneError as error:
        if not question:
            raise
        before = _question_before(question)
        asked = before.model_copy(update={"text": f"**{problem or error}**\n\n{before.text}"})
    if asked is not None:
        _ask(question + 1, asked)
    return ended(registry, version, here=decided)


@flow(name="forms", flow_run_name="forms", timeout_seconds=1800, retries=0, persist_result=False)
def forms(
    params: str = "params.yaml", overrides: list[str] | None = None, model: str | None = None
) -> None:
    """Open the form that is missing, close those that nobody needs, remind, let expire.

    It also looks for tampering, of which nobody would hear before the next command, and ends runs
    that lost their process, so that others take their place.
    """
    settings = load_settings(Path(params), overrides or [], model)
    with alive(settings):
        recover(settings)
        tend_forms(Request(settings, params, overrides or [], model), reopen=False)
        tell_of_tampering(settings, Registry(settings).audit())


def carry_out(
    registry: Registry, settings: Settings, version: int, answer: Approval, seen: str | None
) -> str:
    """Do what an answer says; why not, in a sentence, where that cannot be done.

    Args:
        registry: of the version.
        settings: of the project.
        version: its number.
        answer: of the form.
        seen: digest of what the form has shown.
    """
    if settings.decisions.authentication == "required":
        return "this form cannot decide, since it does not know who you are"
    action = answer.action.strip().lower()
    if action not in ("approve", "reject"):
        return "the first field takes approve or reject"
    shown = {"seen": seen} if action == "approve" else {}
    act = registry.approve if action == "approve" else registry.reject
    for pause in (*_PATIENCE, None):
        try:
            decision = act(version, answer.by.strip(), answer.comment, **shown)
        except (Refused, BadInput) as error:
            log.warning("refused, asking again: %s", error)
            return str(error)
        except PerpetuneError as error:
            if pause is None:
                log.error("%s", error)
                return f"{error}. Answer again when that is put right"
            log.warning("%s; trying again in %d s", error, pause)
            time.sleep(pause)
        else:
            tell_of_decision(settings, registry, decision)
            return ""
    raise AssertionError


def _answer(question: int) -> Approval | None:
    """What somebody has filled in; None: the run was resumed without an answer."""
    try:
        return cast(Approval, Approval.load(_keys(question)))
    except (ValueError, ObjectNotFound, PrefectHTTPStatusError) as error:
        log.warning("no answer that can be used: %s", error)
        return None


def _question(registry: Registry, settings: Settings, version: int, problem: str) -> Asked:
    standing = registry.versions.state().versions[version]
    return Asked(text=approval_text(registry, settings, standing, problem), seen=standing.digest)


def _ask(question: int, asked: Asked) -> None:
    """Suspend this run until somebody fills in the form of this question.

    Prefect's own `suspend_flow_run` suspends first and saves the form afterwards: a run that is
    killed between the two waits for ever without a form. It has no name for the state, either.

    Raises:
        Pause: always; Prefect ends this process on it.
    """
    keys = _keys(question)
    _keep(f"{_KEY}{question}-asked", asked.to_json())
    try:
        Approval.with_initial_data(description=asked.text).save(keys)
    except (ObjectAlreadyExists, PrefectHTTPStatusError):
        log.debug("question %d was saved before", question)
    waiting: State[Any] = Paused(name=WAITING, reschedule=True, pause_key=f"{_KEY}{question}")
    waiting.state_details.run_input_keyset = dict(keys.items())
    run = _this_run()
    with get_client(sync_client=True) as client:
        state = propose_state_sync(client, waiting, flow_run_id=run.id)
    if not state.is_paused():
        raise PerpetuneError(f"Prefect does not let this run wait: it is {state.name}")
    raise Pause(state=state)


def _keep(key: str, value: Any) -> None:
    try:
        create_flow_run_input(key=key, value=value)
    except (ObjectAlreadyExists, PrefectHTTPStatusError):
        log.debug("%s was saved before", key)


def _question_before(question: int) -> Asked:
    return Asked.from_json(read_flow_run_input(f"{_KEY}{question}-asked"))


def _questions_asked() -> int:
    """How often this run has waited already; the answer to the last question is new.

    Earlier answers are done with: what was refused then is not tried again now.
    """
    policy = _this_run().empirical_policy
    asked = policy.pause_keys if policy else None
    return len([key for key in asked or () if key.startswith(_KEY)])


def _keys(question: int) -> Keyset:
    return keyset_from_base_key(f"{_KEY}{question}")


def _this_run() -> Any:
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    return context.flow_run
