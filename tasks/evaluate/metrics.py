"""How close an answer is to its reference."""

import re
import unicodedata

from rapidfuzz.distance import LCSseq

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The lower-cased words of `text`: runs of letters, digits and underscores."""
    return _WORD.findall(text.lower())


def rouge_l(answer: str, reference: str) -> float:
    """ROUGE-L F1 of an answer, from 0 to 1.

    The harmonic mean of precision and recall of the longest common subsequence of words, with
    equal weights (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", §3.1).
    Without a word on both sides it is 0.
    """
    said, wanted = words(answer), words(reference)
    if not said or not wanted:
        return 0.0
    return 2 * LCSseq.similarity(said, wanted) / (len(said) + len(wanted))


def common_spans(answer: str, reference: str) -> list[tuple[int, int]]:
    """Where the words that ROUGE-L counts stand in `answer`: (start, end) in characters."""
    found = list(_WORD.finditer(answer.lower()))
    if len(answer.lower()) != len(answer):  # a few letters change their length: no exact places
        return []
    blocks = LCSseq.opcodes([match.group() for match in found], words(reference))
    return [
        found[index].span()
        for block in blocks
        if block.tag == "equal"
        for index in range(block.src_start, block.src_end)
    ]


def exact_match(answer: str, reference: str) -> bool:
    """Whether both say the same, whatever the case, the width of spaces and a final full stop."""
    return _normalise(answer) == _normalise(reference)


def _normalise(text: str) -> str:
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.removesuffix(".").rstrip()
