"""A person's decision on a candidate: the flow stops until somebody fills in its form.

    perpetune approve 3 --by Ada        # the same decision from the terminal

The run is suspended, not paused: no process waits. Whoever resumes it in Prefect's UI fills in a
form; the flow starts again from the top with the answer. Prefect does not record who resumed a run,
so the form asks for the name, and the registry's decision log keeps it.
"""

import logging
from pathlib import Path
from typing import Any, Literal

from prefect import flow
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from tasks.core.errors import PerpetuneError
from tasks.registry import Registry
from tasks.settings import load_settings

log = logging.getLogger(__name__)


class Approval(RunInput):
    """The form of Prefect's UI."""

    action: Literal["approve", "reject"] = Field(description="What becomes of this candidate")
    by: str = Field(description="Your name: it is recorded with the decision", min_length=1)
    comment: str = Field(default="", description="Why; for whoever looks back")


@flow(name="promote", flow_run_name="promote version {version}", persist_result=True)
def promote(
    version: int, params: str = "params.yaml", overrides: list[str] | None = None
) -> dict[str, Any]:
    """Wait for a person's decision on `version`, then move the aliases accordingly.

    Returns:
        The recorded decision.

    Raises:
        Refused: the decision is against the policy (the verdict did not pass, say).
    """
    settings = load_settings(Path(params), overrides or [])
    registry = Registry(settings)
    card = registry.versions.artifact(version, "card.md").read_text(encoding="utf-8")
    question = 0
    while True:
        if registry.status().challenger != version:
            log.info("version %s no longer waits for a decision", version)
            return {"version": version, "action": "none"}
        question += 1
        try:
            answer = suspend_flow_run(
                wait_for_input=Approval.with_initial_data(description=card),
                timeout=int(settings.platform.approval_timeout_hours * 3600),
                key=f"decision-{question}",
            )
        except ValueError as error:
            # Bad answers pass Prefect's form and fail here: ask again rather than fail the run.
            log.warning("the answer cannot be used, asking again: %s", error)
            continue
        if not answer.by.strip():
            log.warning("the answer names nobody, asking again")
            continue
        act = registry.approve if answer.action == "approve" else registry.reject
        try:
            decision = act(version, answer.by.strip(), answer.comment)
        except PerpetuneError as error:
            log.error("%s", error)
            raise
        return decision.to_json()
