"""What is asked."""

import numpy as np

from tasks.drift import vectors
from tasks.drift.features import FEATURES
from tasks.drift.features.contract import FeatureGroup, Features, Pool, mean_difference
from tasks.drift.rows import Row


@FEATURES.register
class Wording(FeatureGroup):
    """Words and parts of words of the prompt, case and layout aside."""

    name = "wording"
    sentence = "the words of the prompts"
    in_prompts = True

    def features(self, pool: Pool) -> Features | None:
        """Latent semantic coordinates."""
        texts = [row.words for row in pool.rows]
        matrix = vectors.wording(texts, pool.max_characters, pool.seed)
        return Features(matrix, np.ones(len(texts), dtype=bool), mean_difference)

    def text(self, row: Row) -> str | None:
        """The prompt."""
        return row.words
