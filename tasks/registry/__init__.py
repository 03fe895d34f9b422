"""What MLflow keeps for us: runs, versions, aliases, and the decisions that move them.

The only package that knows MLflow. A round and its trials are runs, the adapter that a round brings
is a version of one registered model, and a version becomes champion only by a decision of a person,
which is written down before it is applied (`tasks.decisions` says what may be decided). Nothing
here imports torch.

    tracking       rounds and trials
    versions       registered versions and their files
    decision_log   decisions as runs
    mlflow_model   a version as an MLflow model that needs no Perpetune
    sbom           the software that made a version
    relocation     a project that was moved or copied
    links          pages of MLflow's UI
    references     how people name a model
    registry       the whole, and the only one that moves aliases
"""

from tasks.registry.mlflow_values import DatasetRef
from tasks.registry.references import resolve_model
from tasks.registry.registry import Registry
from tasks.registry.results import Candidate, Pending, Status
from tasks.registry.sbom import write_sbom
from tasks.registry.webhooks import register_webhook

__all__ = [
    "Candidate",
    "DatasetRef",
    "Pending",
    "Registry",
    "Status",
    "register_webhook",
    "resolve_model",
    "write_sbom",
]
