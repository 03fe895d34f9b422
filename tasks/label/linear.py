"""A linear classifier of prompts: how sure one can be of a label, within seconds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.label.pool import Floats


def fit(texts: Sequence[str], labels: Sequence[str]) -> Any:
    """TF-IDF of words and pairs of words, and logistic regression.

    Args:
        texts: prompts.
        labels: their labels, of two kinds at least.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+")  # noqa: S106
    return make_pipeline(words, LogisticRegression(C=10.0, max_iter=300)).fit(texts, labels)


def probabilities(
    texts: Sequence[str], labels: Sequence[str], asked: Sequence[str], choices: Sequence[str]
) -> Floats:
    """Of each choice for each prompt that is asked, shape (asked, choices).

    A choice that no example has shares a small probability with the others of that kind.

    Args:
        texts: prompts of labelled examples.
        labels: their labels, each one of `choices`.
        asked: prompts.
        choices: all labels.
    """
    found = np.full((len(asked), len(choices)), 1.0 / len(choices))
    if len(set(labels)) < 2:
        return found
    model = fit(texts, labels)
    known = [list(choices).index(label) for label in model.classes_]
    found[:] = 1 / (len(texts) + len(choices))
    found[:, known] += model.predict_proba(asked)
    return np.asarray(found / found.sum(axis=1, keepdims=True))
