"""A person's decision on a candidate: the flow stops until somebody fills in its form.

    perpetune approve 3 --by Ada        # the same decision at the command line

The run is suspended, not paused: no process waits. Whoever resumes it in Prefect's UI fills in a
form; the flow starts again from the top with the answer. Prefect does not record who resumed a run,
so the form asks for the name, and the registry's decision log keeps it.
"""

import logging
from pathlib import Path
from typing import Literal

from prefect import flow
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from flows.server import has_server
from tasks.core.errors import PerpetuneError
from tasks.decisions import Decision, Version
from tasks.registry import Registry
from tasks.settings import Settings, load_settings

log = logging.getLogger(__name__)


class Approval(RunInput):
    """The form of Prefect's UI."""

    action: Literal["approve", "reject"] = Field(description="What becomes of this candidate")
    by: str = Field(description="Your name: it is recorded with the decision", min_length=1)
    comment: str = Field(default="", description="Why; for whoever looks back")


def request_approval(
    settings: Settings, version: Version, params: str, overrides: list[str]
) -> None:
    """Start the flow that waits for a person, where a platform is there to keep it waiting."""
    if not has_server():
        return
    from prefect.deployments import run_deployment

    run_deployment(
        "promote/on-demand",
        parameters={"version": version.number, "params": params, "overrides": overrides},
        # Asked once for a version, however often its round is run.
        idempotency_key=f"promote-{settings.project.name}-{version.number}",
        timeout=0,
        as_subflow=False,
    )
    log.info("version %s waits for a decision in Prefect and at the command line", version.number)


@flow(name="promote", flow_run_name="promote version {version}", persist_result=True)
def promote(
    version: int, params: str = "params.yaml", overrides: list[str] | None = None
) -> Decision | None:
    """Wait for a person's decision on `version`, then move the aliases accordingly.

    Returns:
        The recorded decision; None if the version no longer waits for one.

    Raises:
        Refused: the decision is against the policy (the verdict did not pass, say).
    """
    settings = load_settings(Path(params), overrides or [])
    registry = Registry(settings)
    card = registry.versions.artifact(version, "card.md").read_text(encoding="utf-8")
    question = 0
    while registry.status().challenger == version:
        question += 1
        answer = _ask(card, f"decision-{question}", settings.platform.approval_timeout_hours)
        if answer is not None:
            return _decide(registry, version, answer)
    log.info("version %s no longer waits for a decision", version)
    return None


def _ask(card: str, key: str, hours: float) -> Approval | None:
    """Suspend this run until its form is filled in; None: the answer cannot be used."""
    try:
        answer = suspend_flow_run(
            wait_for_input=Approval.with_initial_data(description=card),
            timeout=int(hours * 3600),
            key=key,
        )
    except ValueError as error:
        # Bad answers pass Prefect's form and fail here: ask again rather than fail the run.
        log.warning("the answer cannot be used, asking again: %s", error)
        return None
    if not answer.by.strip():
        log.warning("the answer names nobody, asking again")
        return None
    return answer


def _decide(registry: Registry, version: int, answer: Approval) -> Decision:
    act = registry.approve if answer.action == "approve" else registry.reject
    try:
        return act(version, answer.by.strip(), answer.comment)
    except PerpetuneError as error:
        log.error("%s", error)
        raise
