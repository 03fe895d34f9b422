"""What MLflow keeps for us: runs, versions, aliases, and the decisions that move them.

The only package that knows MLflow. A round and its trials are runs, the adapter that a round brings
is a version of one registered model, and a version becomes champion only by a decision of a person
in the decision log, which MLflow's aliases and tags follow (`tasks.decisions` says what may be
decided). Nothing here imports torch.

    tracking       rounds and trials
    mlflow_model   a version as an MLflow model that needs no Perpetune
    sbom           the software that made a version
    relocation     a project that was moved or copied
    versions       registered versions and their files, verified
    digests        hashes of these
    decision_log   the log in MLflow; log_copy: what this machine has seen of it
    identity       who somebody is
    shadow         what MLflow has to show by the log
    examination    where it does not
    traces         of a served model, as traffic
    links          pages of MLflow's UI
    references     how people name a model
    registry       the whole, and the only one that moves aliases
"""

from tasks.registry.connection import DATABASE_VARIABLE, database_uri
from tasks.registry.mlflow_values import DatasetRef
from tasks.registry.references import resolve_model
from tasks.registry.registry import Registry
from tasks.registry.results import Audit, Candidate, Pending, RunCounts, Status
from tasks.registry.sbom import write_sbom
from tasks.registry.traces import read_traces
from tasks.registry.webhooks import register_webhook

__all__ = [
    "DATABASE_VARIABLE",
    "Audit",
    "Candidate",
    "DatasetRef",
    "Pending",
    "Registry",
    "RunCounts",
    "Status",
    "database_uri",
    "read_traces",
    "register_webhook",
    "resolve_model",
    "write_sbom",
]
