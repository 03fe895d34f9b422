"""What training minimises: one registry, one contract (`contract`), one test suite.

What is here imports neither torch nor PEFT. To add an objective is to add one class:
CONTRIBUTING.md has an example.
"""

from typing import TYPE_CHECKING

from tasks.core.plugins import PluginRegistry
from tasks.tune.objectives.contract import Encoder, Objective
from tasks.tune.objectives.settings import ObjectiveSettings
from tasks.tune.objectives.supervised import Supervised

if TYPE_CHECKING:
    from tasks.tune.settings import Tune

__all__ = ["OBJECTIVES", "Encoder", "Objective", "ObjectiveSettings", "objective_of"]

OBJECTIVES: PluginRegistry[Objective] = PluginRegistry("objective")
OBJECTIVES.register(Supervised)


def objective_of(tune: "Tune") -> Objective:
    """The objective that `tune.objective` names, with its settings."""
    return OBJECTIVES.get(tune.objective.name).configured(tune.objective)
