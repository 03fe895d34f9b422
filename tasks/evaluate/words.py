"""Words of an answer, and which of them are those of its reference."""

import re

from rapidfuzz.distance import LCSseq

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The lower-cased words of `text`: runs of letters, digits and underscores."""
    return _WORD.findall(text.lower())


def common_spans(answer: str, reference: str) -> list[tuple[int, int]]:
    """Places in `answer` of a longest common subsequence of words: (start, end) in characters.

    Empty where lower-casing changes the length of `answer`, as with a few letters (`İ`).
    """
    lowered = answer.lower()
    if len(lowered) != len(answer):
        return []
    found = list(_WORD.finditer(lowered))
    blocks = LCSseq.opcodes([match.group() for match in found], words(reference))
    return [
        found[i].span()
        for block in blocks
        if block.tag == "equal"
        for i in range(block.src_start, block.src_end)
    ]
