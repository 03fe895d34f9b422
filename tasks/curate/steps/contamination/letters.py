"""What records have of passages, letter by letter: copies that lost hyphens or spaces."""

from collections.abc import Iterator

import numpy as np

from tasks.curate.steps.contamination.disguises import join_long_tokens, undisguised
from tasks.curate.steps.contamination.overlaps import (
    Overlap,
    Stretch,
    longest,
    to_mask,
    to_stretches,
)
from tasks.curate.steps.contamination.passage_index import LETTERS_IN_A_ROW, PassageIndex
from tasks.curate.steps.contamination.passages import SHORTEST_PASSAGE
from tasks.curate.steps.contamination.searched_texts import BY_LETTERS
from tasks.curate.text.ngrams import Hashes, covered, hash_letters, is_member, text_windows

_MOST_LETTERS = 200_000  # of a record that is compared letter by letter
MOST_PASSAGES = 40
"""Passages that one text is compared with: those of which it has most anchors."""


def stretches_by_letters(
    index: PassageIndex, passage: int, letters: Hashes, known: tuple[Stretch, ...]
) -> tuple[Stretch, ...]:
    """Stretches of a passage whose letters a text has in a row.

    Args:
        index: the passages.
        passage: number of one.
        letters: those of the text.
        known: stretches that it has by words; they are added, or the outcome where letters do not
            tell more.
    """
    if not LETTERS_IN_A_ROW <= len(letters) <= _MOST_LETTERS:
        return known
    text = index.passages[passage].text
    of_passage = hash_letters([text]).hashes
    if len(of_passage) < LETTERS_IN_A_ROW:
        return known
    same = is_member(
        text_windows(of_passage, LETTERS_IN_A_ROW),
        np.sort(text_windows(letters, LETTERS_IN_A_ROW)),
    )
    if not same.any():
        return known
    inside = covered(np.flatnonzero(same), LETTERS_IN_A_ROW, len(of_passage))
    lengths = np.array([len(word.encode("utf-8", "surrogatepass")) for word in text.split(" ")])
    ends = np.cumsum(lengths)
    hits = np.concatenate(([0], np.cumsum(inside)))
    mask = hits[ends] - hits[ends - lengths] == lengths
    found = to_stretches(mask | to_mask(known, len(lengths)))
    return found if longest(found) >= SHORTEST_PASSAGE else known


def overlaps_by_letters(index: PassageIndex, text: str) -> Iterator[Overlap]:
    """Passages that the long tokens of a text hold, letter by letter."""
    letters = hash_letters([join_long_tokens(undisguised(text))])
    if not LETTERS_IN_A_ROW <= len(letters.hashes) <= _MOST_LETTERS:
        return
    found = index.letter_anchors.lookup(letters)
    ranked = sorted((-len(positions), passage) for _, passage, positions in found)
    for _, passage in ranked[:MOST_PASSAGES]:
        close = stretches_by_letters(index, passage, letters.hashes, ())
        if close:
            yield Overlap(passage, (), close, place=BY_LETTERS)
