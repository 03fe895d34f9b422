"""How the model is instructed."""

import numpy as np

from tasks.drift import vectors
from tasks.drift.features import FEATURES
from tasks.drift.features.contract import FeatureGroup, Features, Pool, mean_difference
from tasks.drift.rows import Row


@FEATURES.register
class System(FeatureGroup):
    """Wording, form and presence of the system prompt; none is as good a value as any other."""

    name = "system"
    sentence = "the system prompts"

    def features(self, pool: Pool) -> Features | None:
        """Wording, form and presence side by side."""
        return _optional_text([row.system for row in pool.rows], pool)

    def text(self, row: Row) -> str | None:
        """The system prompt."""
        return row.system or None


def _optional_text(texts: list[str], pool: Pool) -> Features | None:
    if not any(texts):
        return None
    given = np.array([[bool(text)] for text in texts], dtype=np.float32)
    parts = [
        vectors.wording(texts, pool.max_characters, pool.seed),
        vectors.form(texts),
        vectors.scaled(given),
    ]
    return Features(np.hstack(parts), np.ones(len(texts), dtype=bool), mean_difference)
