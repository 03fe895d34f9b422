"""Words of an answer, and other views of a text that several metrics share."""

import re
import unicodedata

from rapidfuzz.distance import LCSseq

from tasks.records import Record

# Scripts that write words without spaces between them count by character, as BLEU's "zh" does.
_CHARACTER = "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_WORD = re.compile(rf"{_CHARACTER}|(?:(?!{_CHARACTER})[^\W_])+")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})[^\n`]*\n(?P<inside>.*?)\n?\s*\1\s*", re.DOTALL)


def words(text: str) -> list[str]:
    """The lower-cased words of `text`: runs of letters and digits, and single Chinese and Japanese
    characters.

    On ASCII text these are the words of the library rouge-score, which knows no other letters.
    """
    return _WORD.findall(text.lower())


def normalised(text: str) -> str:
    """`text` without what does not matter to whether two short texts are the same: case, width of
    spaces, a full stop at the end; in Unicode's form NFKC."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.removesuffix(".").rstrip()


def asked(record: Record) -> str:
    """What a person reads as the prompt: all turns before the answer."""
    turns = record.turns[:-1] if record.target is not None else record.turns
    if len(turns) == 1:
        return turns[0].text
    return "\n\n".join(f"{turn.role}: {turn.text}" for turn in turns)


def unfenced(text: str) -> str:
    """What a text's Markdown fence holds, where the whole text is one; else the text."""
    found = _FENCE.fullmatch(text)
    return found["inside"] if found else text


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
