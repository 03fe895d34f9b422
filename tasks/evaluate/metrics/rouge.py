"""ROUGE-1, ROUGE-2 and ROUGE-L."""

from functools import cache
from typing import Any

from tasks.evaluate.metrics import METRICS, Item, Metric
from tasks.evaluate.words import words

_CAVEAT = (
    "{0} counts words shared with one reference answer: a good answer in other words scores low, "
    "a fluent but wrong one may score high."
)


class Rouge(Metric):
    """Computed by the library rouge-score, without stemming (Lin 2004, "ROUGE: A Package for
    Automatic Evaluation of Summaries")."""

    unit = ""
    better = "higher"
    needs = "answers"
    bounds = (0.0, 1.0)

    kind: str
    """What rouge-score calls it."""

    def score(self, item: Item) -> float:
        """0 where answer and reference have nothing in common, or no words at all."""
        return float(_scorer(self.kind).score(item.reference, item.answer)[self.kind].fmeasure)


@METRICS.register
class Rouge1(Rouge):
    """F1 of the words that answer and reference share, from 0 to 1.

    ROUGE-N of Lin 2004, §2, by the library rouge-score without stemming. Words are runs of letters
    and digits of any script, and single Chinese and Japanese characters; rouge-score's own words,
    runs of a–z and 0–9, are the same on English text.
    """

    name = "rouge_1"
    label = "ROUGE-1"
    kind = "rouge1"
    caveat = _CAVEAT.format("ROUGE-1")


@METRICS.register
class Rouge2(Rouge):
    """F1 of the pairs of neighbouring words that answer and reference share, from 0 to 1.

    As ROUGE-1, of pairs. Where one of both has a single word it is 0.
    """

    name = "rouge_2"
    label = "ROUGE-2"
    kind = "rouge2"
    caveat = _CAVEAT.format("ROUGE-2")


@METRICS.register
class RougeL(Rouge):
    """F1 of the longest common subsequence of words of answer and reference, from 0 to 1.

    Lin 2004, §3.1, of words as ROUGE-1 has them.
    """

    name = "rouge_l"
    label = "ROUGE-L"
    kind = "rougeL"
    caveat = _CAVEAT.format("ROUGE-L")


class _Tokenizer:
    def tokenize(self, text: str) -> list[str]:
        return words(text)


@cache
def _scorer(kind: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # takes a second

    return RougeScorer([kind], tokenizer=_Tokenizer())
