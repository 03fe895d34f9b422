"""Texts as places: what distances between rows are computed from."""

from collections.abc import Sequence

import numpy as np

from tasks.label.pool import Floats

_DIMENSIONS = 64
_CHARACTERS = 4000
_NEIGHBOURS = 5
_AT_ONCE = 1024


def places(texts: Sequence[str], reference: Sequence[str], seed: int) -> tuple[Floats, Floats]:
    """Latent semantic coordinates of rows and of the reference, each vector of length 1 (or 0).

    Words, pairs of words and character 3- to 5-grams, weighted by TF-IDF, reduced by a truncated
    singular value decomposition (Deerwester et al. 1990) of both together.

    Args:
        texts: rows that may be chosen, at least one.
        reference: what the model was trained on; may be empty.
        seed: of the randomised decomposition.

    Returns:
        Two arrays of shape (rows, dimensions).
    """
    from scipy.sparse import hstack
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.preprocessing import normalize

    both = [_shorten(text) for text in (*texts, *reference)]
    blocks = []
    for analyzer, ngrams in (("word", (1, 2)), ("char_wb", (3, 5))):
        counts = HashingVectorizer(
            analyzer=analyzer, ngram_range=ngrams, token_pattern=r"\w+", norm=None,  # noqa: S106
            n_features=2**17, alternate_sign=False,
        ).transform(both)  # fmt: skip
        shared = counts[:, counts.getnnz(axis=0) > 1]
        if shared.shape[1]:
            blocks.append(TfidfTransformer(sublinear_tf=True).fit_transform(shared))
    if not blocks:
        return np.zeros((len(texts), 1)), np.zeros((len(reference), 1))
    terms = hstack(blocks).tocsr()
    dimensions = min(_DIMENSIONS, *terms.shape)
    with np.errstate(invalid="ignore"):  # its explained variance, where all rows are alike
        found = TruncatedSVD(dimensions, random_state=seed).fit_transform(terms)
    found = normalize(found)
    return np.asarray(found[: len(texts)]), np.asarray(found[len(texts) :])


def novelty(rows: Floats, reference: Floats) -> Floats:
    """Cosine distance of each row to its fifth nearest reference row (Sun et al. 2022).

    Args:
        rows: shape (rows, dimensions), of length 1.
        reference: the same; at least one row.
    """
    nth = min(_NEIGHBOURS, len(reference)) - 1
    found = np.empty(len(rows))
    for start in range(0, len(rows), _AT_ONCE):
        distances = 1 - rows[start : start + _AT_ONCE] @ reference.T
        found[start : start + _AT_ONCE] = np.partition(distances, nth, axis=1)[:, nth]
    return np.maximum(found, 0.0)


def _shorten(text: str) -> str:
    half = _CHARACTERS // 2
    return text if len(text) <= _CHARACTERS else f"{text[:half]} {text[-half:]}"
