"""What was measured beside a request: latency, feedback, and the champion's loss and confidence.

Each is read from the record's `meta`. Rows without it count for neither side.
"""

import math

import numpy as np

from tasks.drift import vectors
from tasks.drift.features import FEATURES
from tasks.drift.features.contract import FeatureGroup, Features, Floats, Pool, mean_difference
from tasks.drift.rows import Row

_IN_WORDS = {
    "up": 1.0, "good": 1.0, "positive": 1.0, "like": 1.0, "thumbs_up": 1.0, "yes": 1.0,
    "down": 0.0, "bad": 0.0, "negative": 0.0, "dislike": 0.0, "thumbs_down": 0.0, "no": 0.0,
}  # fmt: skip


class Number(FeatureGroup):
    """A number in `meta`, by its rank."""

    def __init__(self, name: str, sentence: str, keys: tuple[str, ...]) -> None:
        self.name = name
        self.sentence = sentence
        self.keys = keys

    def features(self, pool: Pool) -> Features | None:
        """Rank, and distance of the rank from the middle, from −1 to 1: location and spread."""
        values = [self.value(row) for row in pool.rows]
        present = np.array([value is not None for value in values])
        if not present.any():
            return None
        matrix = np.zeros((len(values), 2), dtype=np.float32)
        matrix[present] = _ranks([value for value in values if value is not None])
        return Features(matrix, present, mean_difference)

    def text(self, row: Row) -> str | None:
        """The number."""
        value = self.value(row)
        return None if value is None else f"{value:g}"

    def value(self, row: Row) -> float | None:
        """The number that the row carries; None: it carries none."""
        for key in self.keys:
            value = row.record.meta.get(key)
            if isinstance(value, str):
                value = _IN_WORDS.get(value.casefold())
            if isinstance(value, int | float) and math.isfinite(value):
                return float(value)
        return None


def _ranks(values: list[float]) -> Floats:
    from scipy.stats import rankdata

    share = 2 * (rankdata(values) - 0.5) / len(values) - 1
    parts = [share.reshape(-1, 1), np.abs(share).reshape(-1, 1)]
    return np.hstack([vectors.scaled(part.astype(np.float32)) for part in parts])


for _number in (
    Number("latency", "how long answers took", ("latency", "seconds", "latency_ms")),
    Number("feedback", "what people thought of answers", ("feedback", "rating", "score")),
    Number("loss", "the champion's loss on the answers", ("loss",)),
    Number("confidence", "how sure the champion was", ("confidence",)),
):
    FEATURES.add(_number)
