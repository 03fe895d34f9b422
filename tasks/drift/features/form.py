"""How it is asked."""

import numpy as np

from tasks.drift import vectors
from tasks.drift.features import FEATURES
from tasks.drift.features.contract import FeatureGroup, Features, Pool, mean_difference
from tasks.drift.rows import Row


@FEATURES.register
class Form(FeatureGroup):
    """Length, case, layout and punctuation of the prompt as it was written."""

    name = "form"
    sentence = "length, case, layout and punctuation of the prompts"
    in_prompts = True

    def features(self, pool: Pool) -> Features | None:
        """Standardised measures."""
        matrix = vectors.form([row.prompt for row in pool.rows])
        return Features(matrix, np.ones(len(pool.rows), dtype=bool), mean_difference)

    def text(self, row: Row) -> str | None:
        """The prompt, with its layout."""
        return row.prompt
