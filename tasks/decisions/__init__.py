"""Who may decide what: versions, the aliases on them, and the policy that moves these.

Everything here is pure: a state and an action give a decision, or a refusal with its reason. Where
decisions are written down is an interface (`DecisionLog`); the registry brings MLflow's.
"""

from tasks.decisions.log import DecisionLog
from tasks.decisions.policy import (
    State,
    approve,
    check_person,
    effective,
    reject,
    rollback,
    what_exists,
)
from tasks.decisions.values import Action, Aliases, Decision, Version

__all__ = [
    "Action",
    "Aliases",
    "Decision",
    "DecisionLog",
    "State",
    "Version",
    "approve",
    "check_person",
    "effective",
    "reject",
    "rollback",
    "what_exists",
]
