"""The objectives of training: one registry. What is here does not import torch."""

from dataclasses import dataclass

from tasks.core.plugins import PluginRegistry
from tasks.tune.objectives.settings import ObjectiveSettings

__all__ = ["OBJECTIVES", "Objective", "ObjectiveSettings"]


@dataclass(frozen=True, slots=True)
class Objective:
    """What training minimises."""

    name: str
    settings: type[ObjectiveSettings] = ObjectiveSettings


OBJECTIVES: PluginRegistry[Objective] = PluginRegistry("objective")
OBJECTIVES.add(Objective("supervised"))
