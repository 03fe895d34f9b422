"""Lengths and make-up of texts, as plain figures that people and Evidently look at."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DESCRIPTORS = ("characters", "words", "sentences", "non_letter_percent")
_SENTENCE_END = re.compile(r"[.!?]+(?:\s|$)|[。！？]+")


def descriptors(texts: Sequence[str]) -> NDArray[np.float64]:
    """The values named in `DESCRIPTORS` of each text, shape (rows, 4)."""
    return np.array([_describe(text) for text in texts], dtype=np.float64)


def _describe(text: str) -> tuple[int, int, int, float]:
    letters = sum(character.isalpha() or character.isspace() for character in text)
    sentences = len([part for part in _SENTENCE_END.split(text) if part.strip()])
    share = 100 * (len(text) - letters) / max(len(text), 1)
    return len(text), len(text.split()), sentences, share
