"""Two texts side by side: which words both have, or which one has alone, for a person's eye."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TypeAlias

from tasks.curate.text.normalise import words

Marked: TypeAlias = list[tuple[str, bool]]
"""A text in pieces, and whether each of them is marked."""

_SIGN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_PIECES = re.compile(f"[{_SIGN}]|[^\\W_{_SIGN}]+|[\\W_]+")
_LEAD = 150
"""Characters shown before the first mark."""
_COMPARED = 4000
"""Characters that are compared for differences, which takes more than linear time."""


@dataclass(frozen=True, slots=True)
class _Text:
    """Pieces that give the text when joined, its words, and the piece of each word."""

    pieces: list[str]
    words: list[str]
    piece_of: list[int]

    @classmethod
    def of(cls, text: str) -> "_Text":
        pieces: list[str] = []
        found: list[str] = []
        piece_of: list[int] = []
        for chunk in re.findall(r"^\s+|\S+\s*", text):
            split = [chunk]
            of_chunk = words(chunk)
            if len(of_chunk) > 1:
                # Not where signs inside words do not count: those are seen in one piece only.
                finer = _PIECES.findall(chunk)
                if [word for piece in finer for word in words(piece)] == of_chunk:
                    split = finer
            for piece in split:
                of_piece = of_chunk if len(split) == 1 else words(piece)
                found += of_piece
                piece_of += [len(pieces)] * len(of_piece)
                pieces.append(piece)
        return cls(pieces, found, piece_of)

    def marked(self, which: Sequence[bool], limit: int) -> Marked:
        """The text with these words marked, cut to about `limit` characters around the marks."""
        of_piece = [False] * len(self.pieces)
        for number, mark in zip(self.piece_of, which, strict=True):
            of_piece[number] |= mark
        # What lies between two marked words belongs to both.
        wordless = set(range(len(self.pieces))) - set(self.piece_of)
        for number in sorted(wordless):
            inside = 0 < number < len(of_piece) - 1
            of_piece[number] = inside and of_piece[number - 1] and of_piece[number + 1]
        return _cut(_joined(self.pieces, of_piece), limit)


def shared(one: str, other: str, ngram: int, limit: int = 700) -> tuple[Marked, Marked]:
    """Both texts, with the words marked that are in an n-gram of words that both have.

    Words are compared as decontamination compares them: case, accents' form, punctuation and
    invisible characters do not matter.
    """
    left, right = _Text.of(one), _Text.of(other)
    size = max(min(ngram, len(left.words), len(right.words)), 1)
    common = set(_ngrams(left.words, size)) & set(_ngrams(right.words, size))

    def seen(text: _Text) -> list[bool]:
        found = [False] * len(text.words)
        for i, gram in enumerate(_ngrams(text.words, size)):
            if gram in common:
                found[i : i + size] = [True] * size
        return found

    return left.marked(seen(left), limit), right.marked(seen(right), limit)


def changed(one: str, other: str, limit: int = 500) -> tuple[Marked, Marked]:
    """Both texts, with the words marked that the other does not have in their place."""
    left, right = _Text.of(one[:_COMPARED]), _Text.of(other[:_COMPARED])
    alone = [True] * len(left.words), [True] * len(right.words)
    matcher = SequenceMatcher(None, left.words, right.words, autojunk=False)
    for block in matcher.get_matching_blocks():
        alone[0][block.a : block.a + block.size] = [False] * block.size
        alone[1][block.b : block.b + block.size] = [False] * block.size
    return left.marked(alone[0], limit), right.marked(alone[1], limit)


def _ngrams(of: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return list(zip(*(of[i:] for i in range(size)), strict=False))


def _joined(pieces: Sequence[str], marks: Sequence[bool]) -> Marked:
    """Neighbours of one kind together; white space at the end of a mark stays outside."""
    found: Marked = []
    for piece, mark in zip(pieces, marks, strict=True):
        if found and found[-1][1] == mark:
            found[-1] = (found[-1][0] + piece, mark)
        else:
            if found and found[-1][1]:
                text = found[-1][0]
                bare = text.rstrip()
                found[-1] = (bare, True)
                piece = text[len(bare) :] + piece
            found.append((piece, mark))
    return found


def _cut(marked: Marked, limit: int) -> Marked:
    length = sum(len(text) for text, _ in marked)
    if length <= limit:
        return marked
    # From a little before the longest mark on.
    longest = max(range(len(marked)), key=lambda n: (marked[n][1], len(marked[n][0]), -n))
    begin = sum(len(text) for text, _ in marked[:longest]) if marked[longest][1] else 0
    begin = min(max(begin - _LEAD, 0), length - limit)
    found: Marked = [("… ", False)] if begin else []
    offset = 0
    for text, mark in marked:
        part = text[max(begin - offset, 0) : max(begin + limit - offset, 0)]
        offset += len(text)
        if part:
            found.append((part, mark))
    if begin + limit < length:
        found.append((" …", False))
    return found
