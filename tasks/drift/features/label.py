"""Which labels are given."""

from collections import Counter

import numpy as np

from tasks.drift import vectors
from tasks.drift.features import FEATURES
from tasks.drift.features.contract import FeatureGroup, Features, Pool, mean_difference
from tasks.drift.rows import Row

_CLASSES = 100


@FEATURES.register
class Label(FeatureGroup):
    """The labels' shares; rows without one count for neither side."""

    name = "label"
    sentence = "the labels"

    def features(self, pool: Pool) -> Features | None:
        """A column for each of the most frequent labels, and one for the others."""
        labels = [_name(row) for row in pool.rows]
        counts = Counter(name for name in labels if name is not None)
        if not counts:
            return None
        frequent = sorted(counts, key=lambda name: (-counts[name], name))[:_CLASSES]
        columns = {name: place for place, name in enumerate(frequent)}
        matrix = np.zeros((len(labels), len(columns) + 1), dtype=np.float32)
        for place, name in enumerate(labels):
            if name is not None:
                matrix[place, columns.get(name, len(columns))] = 1
        present = np.array([name is not None for name in labels])
        matrix[present] = vectors.scaled(matrix[present])
        return Features(matrix, present, mean_difference)

    def text(self, row: Row) -> str | None:
        """The label."""
        return _name(row)


def _name(row: Row) -> str | None:
    return None if row.label is None else str(row.label)
