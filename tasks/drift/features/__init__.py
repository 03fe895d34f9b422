"""What of the traffic is compared: a file for each feature group.

A feature group turns the rows of both sides into vectors without seeing their side, and has a test
of its own in the one decision (`tasks.drift.permutation`), so that what drifted is named. To add
one is to add a file here, or one of your own with a line in `project.plugins`:

    @FEATURES.register
    class Questions(FeatureGroup):
        name = "questions"
        sentence = "whether prompts are questions"
        in_prompts = True

        def features(self, pool):
            asks = np.array([[row.prompt.rstrip().endswith("?")] for row in pool.rows], np.float32)
            return Features(asks, np.ones(len(asks), bool), mean_difference)

        def text(self, row):
            return row.prompt
"""

from tasks.core.plugins import PluginRegistry
from tasks.drift.features.contract import (
    FeatureGroup,
    Features,
    Floats,
    Pool,
    Statistic,
    Sums,
    mean_difference,
)

__all__ = [
    "FEATURES",
    "FeatureGroup",
    "Features",
    "Floats",
    "Pool",
    "Statistic",
    "Sums",
    "mean_difference",
]

FEATURES: PluginRegistry[FeatureGroup] = PluginRegistry("drift feature", "tasks.drift.features")
