"""Texts as vectors: their words, and their form."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

COMPONENTS = 100
_HASHED_TERMS = 2**16
_PUNCTUATION = ".,;:!?'\"`()[]{}<>/\\|-_=+*#@$%^&~"
_WORD = re.compile(r"\w+")


def wording(texts: Sequence[str], max_characters: int, seed: int) -> Floats:
    """Latent semantic coordinates of texts, shape (rows, at most 100): directions, centred.

    Words and character 2- to 4-grams, each weighted by TF-IDF and hashed (which bounds memory and
    takes any script), reduced by a truncated singular value decomposition (Deerwester et al. 1990).
    Case does not count.

    Args:
        texts: all rows of both sides, in an order that does not depend on their side.
        max_characters: a longer text is represented by its beginning and its end.
        seed: of the randomised decomposition.
    """
    from scipy.sparse import hstack
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    distinct = list(dict.fromkeys(texts))
    places = {text: place for place, text in enumerate(distinct)}
    rows = np.array([places[text] for text in texts])
    shortened = [_shorten(text, max_characters) for text in distinct]
    blocks = []
    for analyzer, ngrams in (("word", (1, 1)), ("char_wb", (2, 4))):
        counts = HashingVectorizer(
            analyzer=analyzer,
            ngram_range=ngrams,
            token_pattern=r"\w+",  # noqa: S106 (of words)
            n_features=_HASHED_TERMS,
            norm=None,
            alternate_sign=False,
            dtype=np.float32,
        ).transform(shortened)
        if counts.shape[1]:
            seen = counts.getnnz(axis=0)
            # A term of a single text cannot be compared between two samples.
            counts = counts[:, seen > (1 if len(distinct) > 2 else 0)]
        if counts.shape[1]:
            blocks.append(TfidfTransformer(sublinear_tf=True).fit_transform(counts))
    if not blocks:
        return np.zeros((len(texts), 1), dtype=np.float32)
    terms = hstack(blocks).tocsr().astype(np.float32)
    if min(terms.shape) <= COMPONENTS:
        found = terms.toarray()
        if found.shape[1] > COMPONENTS:
            left, values, _ = np.linalg.svd(found, full_matrices=False)
            found = left * values
    else:
        found = TruncatedSVD(COMPONENTS, n_iter=3, random_state=seed).fit_transform(terms)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    # Directions alone: a text with rare words would weigh many times as much as others.
    unit = found / np.where(lengths > 1e-6, lengths, 1)
    return scaled(np.asarray(unit, dtype=np.float32)[rows])


def form(texts: Sequence[str]) -> Floats:
    """How texts are written: length, case, layout and punctuation, shape (rows, features).

    Counts are logarithms, shares of characters square roots; every column has mean 0 and variance
    1, and is cut at 4 standard deviations.
    """
    measured = {text: _form(text) for text in set(texts)}
    values = np.array([measured[text] for text in texts], dtype=np.float32)
    spread = values.std(axis=0)
    constant = spread < 1e-6
    standard = (values - values.mean(axis=0)) / np.where(constant, 1, spread)
    standard[:, constant] = 0
    return scaled(np.clip(standard, -4, 4))


def scaled(values: Floats) -> Floats:
    """Centred, with a mean square length of 1 (0 where all rows are equal)."""
    centred = values - values.mean(axis=0, dtype=np.float64).astype(np.float32)
    size = float(np.sqrt(np.einsum("ij,ij->", centred, centred) / max(len(centred), 1)))
    return centred / size if size > 1e-6 else np.zeros_like(centred)


def _shorten(text: str, limit: int) -> str:
    # Prompts from a template often begin alike and differ at the end.
    return text if len(text) <= limit else f"{text[: limit // 2]} {text[-(limit // 2) :]}"


def _form(text: str) -> list[float]:
    size = max(len(text), 1)
    words = _WORD.findall(text)
    letters = [character for character in text if character.isalpha()]
    upper = sum(character.isupper() for character in letters)
    cased = sum(character.isupper() or character.islower() for character in letters)
    begins = text.lstrip()[:1]
    ends = text.rstrip()[-1:]
    return [
        np.log1p(len(text)),
        np.log1p(len(words)),
        np.log1p(text.count("\n")),
        upper / max(cased, 1),
        float(cased > 1 and upper == cased),
        float(cased > 1 and upper == 0),
        float(begins.isupper()),
        float(ends.isalnum()),
        (sum(character.isdigit() for character in text) / size) ** 0.5,
        ((len(text) - len(letters)) / size) ** 0.5,
        (sum(ord(character) > 127 for character in text) / size) ** 0.5,
        (sum(character.isspace() and character != " " for character in text) / size) ** 0.5,
        float("\t" in text),
        float("\n" in text),
        float("  " in text),
        float(text != text.strip()),
        sum(map(len, words)) / max(len(words), 1),
        *((text.count(mark) / size) ** 0.5 for mark in _PUNCTUATION),
    ]
