"""What a linear classifier reaches where answers are labels: is a language model needed at all?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import records
from tasks.evaluate.aggregation import figure
from tasks.evaluate.gates import Measured
from tasks.evaluate.items import Item
from tasks.evaluate.metrics import METRICS
from tasks.evaluate.metrics.labels import labels_of
from tasks.evaluate.results import Score
from tasks.evaluate.words import asked, normalised

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_MOST_TRAINED_ON = 50_000


def label_notes(measured: Measured) -> tuple[str, ...]:
    """A sentence for each benchmark whose references are labels: the candidate's accuracy, and that
    of TF-IDF with logistic regression, trained on the same file.

    Words and pairs of words of the prompt weigh by TF-IDF (Spärck Jones 1972); the regression is
    scikit-learn's with its defaults.
    """
    train = measured.evidence.train
    found = []
    for benchmark in measured.benchmarks:
        items = [item for item in measured.items["candidate"][benchmark] if item.answered]
        labels = labels_of(items)
        if labels and train is not None:
            found += _notes(benchmark, items, train, measured)
    return tuple(found)


def _notes(benchmark: str, items: Sequence[Item], train: Path, measured: Measured) -> list[str]:
    prompts, labels = _examples(train, set(labels_of(items)))
    if len(set(labels)) < 2:
        return []
    said = _classifier().fit(prompts, labels).predict([item.prompt for item in items])
    linear = [
        item.model_copy(update={"answer": label}) for item, label in zip(items, said, strict=True)
    ]
    figures = [figure(part, METRICS.get("accuracy"), measured.settings) for part in (linear, items)]
    if figures[0] is None or figures[1] is None:
        return []
    return [
        f"On {benchmark} TF-IDF with logistic regression, trained on {len(labels):,} examples of "
        f"the same file, has an accuracy of {_words(figures[0])}; the candidate has "
        f"{_words(figures[1])}."
    ]


def _words(score: Score) -> str:
    if score.low is None or score.high is None:
        return f"{score.value:.3f}"
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def _examples(train: Path, labels: set[str]) -> tuple[list[str], list[str]]:
    """Prompts and labels of the records whose answer is one of the labels."""
    prompts: list[str] = []
    found: list[str] = []
    for record in records.read(train):
        if isinstance(record, records.BadLine) or not record.target:
            continue
        label = normalised(record.target)
        if label in labels and len(found) < _MOST_TRAINED_ON:
            prompts.append(asked(record))
            found.append(label)
    return prompts, found


def _classifier() -> "Pipeline":
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000)
    )
