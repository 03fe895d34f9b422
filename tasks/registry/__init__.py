"""What MLflow keeps for us: runs, versions, aliases, and the decisions that move them.

The only room that knows MLflow. A round and its trials are runs, the adapter that a round brings is
a version of one registered model, and a version becomes champion only by a decision of a person,
which is recorded before it is carried out. Nothing here imports torch.
"""

from tasks.registry.decisions import Aliases, Decision, Version
from tasks.registry.evidence import DatasetRef
from tasks.registry.registry import Registry

__all__ = ["Aliases", "DatasetRef", "Decision", "Registry", "Version"]
