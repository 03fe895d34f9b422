"""Token F1."""

import re
import string
from collections import Counter

from tasks.evaluate.metrics import METRICS, Item, Metric

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@METRICS.register
class TokenF1(Metric):
    """F1 of the words that answer and reference share, in any order, from 0 to 1.

    As SQuAD's evaluation script does it (Rajpurkar et al. 2016, §6.1): lower case, without
    punctuation and English articles.
    """

    name = "token_f1"
    label = "token F1"
    unit = ""
    better = "higher"
    needs = "answers"
    bounds = (0.0, 1.0)
    caveat = "Token F1 ignores the order of words: an answer that says the opposite may score high."

    def score(self, item: Item) -> float:
        """2 · shared / (words of the answer + words of the reference); 1 where both have none."""
        answer, reference = _words(item.answer), _words(item.reference)
        if not answer or not reference:
            return float(answer == reference)
        shared = (Counter(answer) & Counter(reference)).total()
        return 2 * shared / (len(answer) + len(reference))


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()
