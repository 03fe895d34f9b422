"""How often the same is asked."""

from collections import Counter

import numpy as np

from tasks.drift.features import FEATURES
from tasks.drift.features.contract import FeatureGroup, Features, Floats, Pool, Sums
from tasks.drift.groups import request_key
from tasks.drift.rows import Row

_SIGNS = 128


@FEATURES.register
class Frequency(FeatureGroup):
    """Requests for each distinct prompt: a flood of one, or few that make up nearly all."""

    name = "frequency"
    sentence = "how often the same is asked"
    in_prompts = True

    def features(self, pool: Pool) -> Features | None:
        """Random signs, equal for equal requests: their sums tell how many requests are equal."""
        keys = [request_key(row) for row in pool.rows]
        counts = Counter(keys)
        fewest = 1 if pool.repeats_are_known else pool.most_copies
        repeated = sorted(key for key in counts if counts[key] > fewest)
        if not repeated:
            return None
        places = {key: place for place, key in enumerate(repeated)}
        draws = np.random.default_rng(pool.seed).integers(0, 2, (len(repeated) + 1, _SIGNS))
        signs = (2 * draws - 1).astype(np.float32)
        # The last column counts the repeated rows, of which each is equal to itself.
        signs[:, -1] = 1
        signs[-1] = 0
        rows = [places.get(key, len(repeated)) for key in keys]
        return Features(signs[rows], np.ones(len(keys), dtype=bool), _collision_difference)

    def text(self, row: Row) -> str | None:
        """The prompt."""
        return row.words


def _collision_difference(one: Sums, other: Sums) -> Floats:
    """How much likelier two requests of one side are equal than two of the other.

    Simpson's index without bias, `Σ n (n − 1) / N (N − 1)`, does not depend on how many requests
    there are: a long reference and a short window of one stream agree. The sum of squares is
    estimated by random signs (Alon, Matias & Szegedy 1996). The difference is weighted by the rows:
    in a few rows, two equal ones are easily a large share.
    """
    rows = one.rows * other.rows / np.maximum(one.rows + other.rows, 1)
    difference = np.abs(_collisions(one) - _collisions(other))
    return np.asarray(difference * rows, dtype=np.float32)


def _collisions(sums: Sums) -> Floats:
    pairs = np.maximum(sums.rows, 2).astype(np.float64)
    signs, repeated = sums.features[:, :-1], sums.features[:, -1]
    squares = np.einsum("ij,ij->i", signs, signs, dtype=np.float64) / signs.shape[1]
    return np.asarray((squares - repeated) / (pairs * (pairs - 1)))
