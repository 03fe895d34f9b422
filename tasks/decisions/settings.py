"""The section `decisions`."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.settings.section import Section, Unit


class Decisions(Section):
    """Who may make a candidate the champion, and where decisions are written down."""

    KEY = "decisions"
    READ_BY = ("run", "status", "approve", "reject", "rollback", "review", "audit", "doctor")

    approvals: Annotated[int, Field(ge=1, le=10), Unit("people")] = 1
    """People of different names who have to approve a version before it becomes champion."""
    own_rounds: Literal["allow", "refuse"] = "allow"
    """Whether somebody may approve the candidate of a round that they started themselves."""
    review: Literal["optional", "required"] = "optional"
    """`required`: somebody has to mark the review sheet first (`perpetune review`)."""
    authentication: Literal["optional", "required"] = "optional"
    """`required`: only users that MLflow's server has authenticated decide. Where the server has no
    accounts, a name is a claim, and the log says so."""
    log: str = "mlflow"
    """The decision log: `mlflow`, a file (`decisions.jsonl`), or the SQLAlchemy URL of a database
    (`postgresql://…`)."""
