"""Which parts of an answer are marked: those unlike the other answer, those of the reference."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rapidfuzz.distance import LCSseq

from tasks.evaluate.words import common_spans

# Signs count: `<` and `>` may be all that differs between two answers.
_TOKEN = re.compile(r"\w+|[^\w\s]")
_LEAST_COMMON = 0.3


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer that is shown in one way."""

    text: str
    differs: bool = False
    """The other answer does not have it at this place."""
    shared: bool = False
    """The reference has it, in this order."""


def pieces(answer: str, other: str, reference: str) -> list[Piece]:
    """The answer in pieces.

    Where the two answers have less than a third of their words in common nothing is marked as
    differing: nearly everything would be.
    """
    shared = common_spans(answer, reference)
    return _cut(answer, _differing(answer, other), shared)


def _differing(answer: str, other: str) -> list[tuple[int, int]]:
    found = list(_TOKEN.finditer(answer))
    theirs = _TOKEN.findall(other)
    ours = [match.group() for match in found]
    if not ours or LCSseq.normalized_similarity(ours, theirs) < _LEAST_COMMON:
        return []
    return [
        found[i].span()
        for block in LCSseq.opcodes(ours, theirs)
        if block.tag != "equal"
        for i in range(block.src_start, block.src_end)
    ]


def _cut(
    text: str, differing: Iterable[tuple[int, int]], shared: Iterable[tuple[int, int]]
) -> list[Piece]:
    flags = [[False, False] for _ in text]
    for which, spans in enumerate((differing, shared)):
        for start, end in spans:
            for place in range(start, end):
                flags[place][which] = True
    _join(text, flags)
    found: list[Piece] = []
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or flags[end] != flags[start]:
            found.append(Piece(text[start:end], *flags[start]))
            start = end
    return found


def _join(text: str, flags: list[list[bool]]) -> None:
    """Blanks between two pieces of one kind belong to them: one mark reads better than many."""
    for match in re.finditer(r"[^\S\n]+", text):
        before, after = match.start() - 1, match.end()
        if before >= 0 and after < len(text):
            for which in (0, 1):
                if flags[before][which] and flags[after][which]:
                    for place in range(*match.span()):
                        flags[place][which] = True
