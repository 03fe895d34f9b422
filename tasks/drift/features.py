"""Prompts as vectors: semantic features of their words, shape features of their length and make-up.

Both are computed on the pooled rows without the side of a row: only then do the permutations of
`tasks.drift.permutation` keep their error rate.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DESCRIPTORS = ("characters", "words", "sentences", "non_letter_percent")
_COMPONENTS = 50
_HASHED_TERMS = 2**16
_SENTENCE_END = re.compile(r"[.!?]+(?:\s|$)|[。！？]+")


def semantic_features(texts: Sequence[str], max_characters: int, seed: int) -> Floats:
    """Latent semantic coordinates of texts, shape (rows, at most 50).

    Words and character 2- to 4-grams, each weighted by TF-IDF and hashed (which bounds memory and
    takes any script), reduced by a truncated singular value decomposition (Deerwester et al. 1990).

    Args:
        texts: all rows of both sides, in an order that does not depend on their side.
        max_characters: a longer text is represented by its beginning and its end.
        seed: of the randomised decomposition.
    """
    from scipy.sparse import hstack
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    shortened = [_shorten(text, max_characters) for text in texts]
    blocks = []
    for analyzer, ngrams in (("word", (1, 1)), ("char_wb", (2, 4))):
        counts = HashingVectorizer(
            analyzer=analyzer,
            ngram_range=ngrams,
            token_pattern=r"\w+",  # noqa: S106 (of words)
            n_features=_HASHED_TERMS,
            norm=None,
            alternate_sign=False,
        ).transform(shortened)
        # A term of a single row cannot be compared between two samples.
        shared = counts[:, counts.getnnz(axis=0) > 1]
        if shared.shape[1]:
            blocks.append(TfidfTransformer(sublinear_tf=True).fit_transform(shared))
    if not blocks:
        return np.zeros((len(texts), 1))
    terms = hstack(blocks).tocsr()
    if terms.shape[1] <= _COMPONENTS:
        return np.asarray(terms.toarray())
    components = min(_COMPONENTS, len(texts))
    reduced = TruncatedSVD(components, random_state=seed).fit_transform(terms)
    return np.asarray(reduced)


def descriptors(texts: Sequence[str]) -> Floats:
    """The values named in `DESCRIPTORS` of each text, shape (rows, 4)."""
    return np.array([_describe(text) for text in texts], dtype=np.float64)


def shape_features(texts: Sequence[str]) -> Floats:
    """Standardised descriptors of texts, counts as logarithms, shape (rows, 4)."""
    values = descriptors(texts)
    values[:, :3] = np.log1p(values[:, :3])
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1))


def _shorten(text: str, limit: int) -> str:
    # Prompts from a template often begin alike and differ at the end.
    return text if len(text) <= limit else f"{text[: limit // 2]} {text[-(limit // 2) :]}"


def _describe(text: str) -> tuple[int, int, int, float]:
    letters = sum(character.isalpha() or character.isspace() for character in text)
    sentences = len([part for part in _SENTENCE_END.split(text) if part.strip()])
    share = 100 * (len(text) - letters) / max(len(text), 1)
    return len(text), len(text.split()), sentences, share
