"""ROUGE-L."""

from rapidfuzz.distance import LCSseq

from tasks.evaluate.metrics import METRICS, Item, Metric
from tasks.evaluate.words import words


@METRICS.register
class RougeL(Metric):
    """F1 of the longest common subsequence of words of answer and reference, from 0 to 1.

    The harmonic mean of precision and recall with equal weights (Lin 2004, "ROUGE: A Package for
    Automatic Evaluation of Summaries", §3.1). Without a word on both sides it is 0.
    """

    name = "rouge_l"
    label = "ROUGE-L"
    unit = ""
    better = "higher"
    needs = "answers"
    caveat = (
        "ROUGE-L counts words shared with one reference answer: a good answer in other words "
        "scores low, a fluent but wrong one may score high."
    )

    def score(self, item: Item) -> float:
        """2 · common / (words of the answer + words of the reference)."""
        answer, reference = words(item.answer), words(item.reference)
        if not answer or not reference:
            return 0.0
        return 2 * LCSseq.similarity(answer, reference) / (len(answer) + len(reference))
