"""Who may decide what: the policy, and the log that every decision stands in.

The log is the authority. Its entries form a chain of hashes, in which each is what the policy
allows at its place; the state of a model is their fold, and MLflow's aliases and tags are compared
with it. Nothing here knows MLflow.

    values    what is asked, decided and written down
    policy    a state and a request give a decision, or a refusal
    state     the fold
    chain     sealing and checking entries
    log       where entries are kept, as an interface; file_log, sql_log
"""

from tasks.decisions.chain import hash_of, readable, replay, restorable, seal
from tasks.decisions.file_log import FileLog
from tasks.decisions.log import Conflict, DecisionLog, Stored
from tasks.decisions.policy import decide, what_exists
from tasks.decisions.sql_log import SqlLog
from tasks.decisions.state import Problem, State, advance, subject
from tasks.decisions.values import (
    AUTO_APPROVER,
    Action,
    Aliases,
    Decision,
    Entry,
    GatesOutcome,
    Identity,
    Registration,
    Request,
    Review,
    Rules,
    Standing,
    Version,
    digest_of,
    normalised,
)

__all__ = [
    "AUTO_APPROVER",
    "Action",
    "Aliases",
    "Conflict",
    "Decision",
    "DecisionLog",
    "Entry",
    "FileLog",
    "GatesOutcome",
    "Identity",
    "Problem",
    "Registration",
    "Request",
    "Review",
    "Rules",
    "SqlLog",
    "Standing",
    "State",
    "Stored",
    "Version",
    "advance",
    "decide",
    "digest_of",
    "hash_of",
    "normalised",
    "readable",
    "replay",
    "restorable",
    "seal",
    "subject",
    "what_exists",
]
