"""What the model said."""

import numpy as np

from tasks.drift import vectors
from tasks.drift.features import FEATURES
from tasks.drift.features.contract import FeatureGroup, Features, Pool, mean_difference
from tasks.drift.rows import Row


@FEATURES.register
class Answer(FeatureGroup):
    """Wording and form of the answers; rows without one count for neither side."""

    name = "answer"
    sentence = "the answers"

    def features(self, pool: Pool) -> Features | None:
        """Wording and form side by side."""
        present = np.array([row.answer is not None for row in pool.rows])
        if not present.any():
            return None
        texts = [row.answer for row in pool.rows if row.answer is not None]
        plain = [" ".join(text.split()) for text in texts]
        parts = [vectors.wording(plain, pool.max_characters, pool.seed), vectors.form(texts)]
        found = np.hstack(parts)
        matrix = np.zeros((len(present), found.shape[1]), dtype=np.float32)
        matrix[present] = found
        return Features(matrix, present, mean_difference)

    def text(self, row: Row) -> str | None:
        """The answer."""
        return row.answer
