"""What records have of passages, by words: copies, changed copies, shuffled copies."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

import numpy as np
import numpy.typing as npt

from tasks.curate.settings import Decontamination
from tasks.curate.steps.contamination.letters import MOST_PASSAGES, stretches_by_letters
from tasks.curate.steps.contamination.overlaps import (
    Background,
    Overlap,
    Stretch,
    longest,
    share_of_passage,
    to_mask,
    to_stretches,
)
from tasks.curate.steps.contamination.passage_index import (
    CLOSE_NGRAM,
    LONG_PASSAGE,
    RARE_KEYS_NEEDED,
    PassageIndex,
    passage_text,
)
from tasks.curate.steps.contamination.passages import SHORTEST_PASSAGE
from tasks.curate.steps.contamination.searched_texts import SearchedTexts
from tasks.curate.text.ngrams import (
    Grams,
    Hashes,
    Positions,
    Words,
    covered,
    hash_letters,
    is_member,
    text_windows,
    windows,
)

SHUFFLED_SHARE = 0.85
"""Share of a passage's words, in any order, that are a shuffled copy."""

_MIN_ANCHOR_SHARE = 0.1  # of a passage, below which no measure can reach its bound
_MIN_ANCHOR_SHARE_LETTERS = 0.15  # the same of letters
_PIECES_SHARE = 0.7  # of a passage in several pieces that are no quote though each is short
_BRIEF = 16  # words below which half of a passage is hardly more than a phrase
_BRIEF_SHARE = 0.6  # of its words in 5-grams, or
_BRIEF_ORDERED_SHARE = 0.8  # of its words in their order, as where few were changed
_SHUFFLED_WIDTH = 1.25  # length of the place where a shuffled copy is, in lengths of the passage
_JOINED = re.compile(r"\w[-'\u2019_/.]\w")


class Matcher:
    """Searches texts for the passages of an index."""

    def __init__(self, index: PassageIndex, settings: Decontamination) -> None:
        self._index = index
        self._settings = settings
        self._joined: dict[int, bool] = {}
        self._background = Background(index.vocabulary.base, {})

    def match(self, searched: SearchedTexts) -> Iterator[tuple[int, Overlap]]:
        """Overlaps of texts, with the number of each record that has the text."""
        for i, overlap in self._overlaps(searched):
            place, origin = searched.place[i], searched.origin[i]
            if place:
                overlap = replace(overlap, place=place, origin=origin)
            for number in searched.records[i]:
                yield number, overlap

    def _overlaps(self, searched: SearchedTexts) -> Iterator[tuple[int, Overlap]]:
        for i, passage in self._whole_passages(searched):
            stretches = ((0, self._index.passages[passage].length),)
            yield i, Overlap(passage, stretches, stretches, whole=True)
        words = searched.words.records
        texts = _TextNgrams(words, (self._settings.ngram, CLOSE_NGRAM))
        strong: set[tuple[int, int]] = set()
        for i, passage, anchors in self._candidates(words):
            exact, close = self._compare(passage, texts, i, anchors)
            enough = self._is_enough(passage, exact, close)
            if not enough and self._may_be_joined(passage, len(anchors), searched.texts[i]):
                letters = hash_letters([searched.texts[i]]).hashes
                close = stretches_by_letters(self._index, passage, letters, close)
                enough = self._is_enough(passage, (), close)
            if close and not self._is_more_than_a_phrase(passage, texts, i, anchors, close):
                close = ()
                enough = self._is_enough(passage, exact, ())
            if enough:
                strong.add((i, passage))
            if exact or close:
                yield i, Overlap(passage, exact, close)
        for i, passage, anchors in self._index.rare_keys.lookup(words, RARE_KEYS_NEEDED):
            if (i, passage) in strong:
                continue
            shuffled = self._shuffled(passage, texts.words(i), anchors - texts.start(i))
            if shuffled:
                yield i, Overlap(passage, (), (), shuffled)

    def _whole_passages(self, searched: SearchedTexts) -> Iterator[tuple[int, int]]:
        """Texts, and passages that they have as a whole turn or in all."""
        turns, first = searched.words.turns, searched.words.first
        for turn, passage in _equal_texts(turns, self._index.turns):
            i = int(np.searchsorted(first, turn, side="right")) - 1
            if turn - first[i] in searched.prompt(i)[0]:
                yield i, passage
        # A prompt of several turns, up to the answer.
        for i in np.flatnonzero(np.diff(first) > 2).tolist():
            end = int(first[i]) + searched.prompt(i)[1]
            span = turns.spans(turns.starts[first[i : i + 1]], turns.starts[end : end + 1])
            if end > first[i] + 1 and (found := self._index.turns.get(int(span[0]))) is not None:
                yield i, found
        yield from _equal_texts(searched.words.records, self._index.records)

    def _candidates(self, words: Words) -> Iterator[tuple[int, int, Positions]]:
        """Text, passage and the positions of the anchors that they have in common."""
        best: dict[int, list[tuple[float, int, Positions]]] = defaultdict(list)
        for anchors in self._index.anchors:
            for i, passage, positions in anchors.lookup(words):
                size = self._index.words_without_boilerplate(passage)
                share = (len(positions) + anchors.size - 1) / size
                if share >= _MIN_ANCHOR_SHARE:
                    best[i].append((share, -passage, positions))
        for i, found in best.items():
            found.sort(key=lambda candidate: candidate[:2], reverse=True)
            for _, number, positions in found[:MOST_PASSAGES]:
                yield i, -number, positions

    def _compare(
        self, passage: int, texts: "_TextNgrams", i: int, anchors: Positions
    ) -> tuple[tuple[Stretch, ...], tuple[Stretch, ...]]:
        """Words of the passage that a text has in n-grams, and those in 5-grams at one place."""
        length = self._index.passages[passage].length
        size = min(self._settings.ngram, length)
        exact: tuple[Stretch, ...] = ()
        # Where no words are boilerplate an n-gram is so many anchors in a row.
        anchor = SHORTEST_PASSAGE if length >= LONG_PASSAGE else CLOSE_NGRAM
        some_boilerplate = self._index.words_without_boilerplate(passage) < length
        if len(anchors) > size - anchor or some_boilerplate:
            exact = to_stretches(self._seen(passage, size, texts.ngrams(i, size)))
        begin, end = _densest(anchors - texts.start(i), 2 * length)
        size = min(CLOSE_NGRAM, length)
        around = texts.ngrams(i, size)[max(begin - length, 0) : max(end + length - size + 1, 0)]
        mask = self._seen(passage, size, around)
        close = to_stretches(mask)
        in_pieces = len(close) > 1 and mask.mean() >= _PIECES_SHARE
        if longest(close) < min(SHORTEST_PASSAGE, length) and not in_pieces:
            close = ()
        return exact, close

    def _is_more_than_a_phrase(
        self,
        passage: int,
        texts: "_TextNgrams",
        i: int,
        anchors: Positions,
        close: Sequence[Stretch],
    ) -> bool:
        """Whether a text has so much of a brief passage that it is no turn of phrase."""
        length = self._index.passages[passage].length
        if length >= _BRIEF or to_mask(close, length).mean() >= _BRIEF_SHARE:
            return True
        begin, end = _densest(anchors - texts.start(i), 2 * length)
        around = texts.words(i)[max(begin - length, 0) : end + length].tolist()
        words = self._index.words(passage).tolist()
        blocks = SequenceMatcher(None, words, around, autojunk=False).get_matching_blocks()
        return sum(block.size for block in blocks) >= _BRIEF_ORDERED_SHARE * length

    def _seen(self, passage: int, size: int, ngrams: Hashes) -> npt.NDArray[np.bool_]:
        """(words,) which words of the passage are in n-grams that are among `ngrams`, too."""
        of_passage = self._index.ngrams(passage, size)
        begin = np.flatnonzero(is_member(of_passage, np.sort(ngrams)))
        return covered(begin, size, self._index.passages[passage].length)

    def _is_enough(self, passage: int, exact: Sequence[Stretch], close: Sequence[Stretch]) -> bool:
        """Whether a measure reaches its bound, by what the passage alone tells."""

        def share(stretches: Sequence[Stretch]) -> float:
            return share_of_passage(self._index, passage, stretches, self._background)[0]

        return (
            share(exact) >= self._settings.max_overlap
            or share(close) >= self._settings.max_paraphrase
        )

    def _may_be_joined(self, passage: int, anchors: int, text: str) -> bool:
        """Whether letters may tell more than words: something joins words on one of the sides."""
        least = _MIN_ANCHOR_SHARE_LETTERS * self._index.words_without_boilerplate(passage)
        if anchors + CLOSE_NGRAM < least:
            return False
        if passage not in self._joined:
            of_passage = passage_text(self._index.passages[passage])
            self._joined[passage] = _JOINED.search(of_passage) is not None
        return self._joined[passage] or _JOINED.search(text) is not None

    def _shuffled(self, passage: int, text: Hashes, keys: Positions) -> tuple[Stretch, ...]:
        """Words of the passage that one place of a text has in any order, if nearly all."""
        words = self._index.words(passage)
        distinct, number = np.unique(words, return_inverse=True)
        need = np.bincount(number, minlength=len(distinct))
        width = int(_SHUFFLED_WIDTH * len(words)) + 2
        begin, end = _densest(keys, width)
        around = text[max(end - width, 0) : begin + width]
        near = np.searchsorted(distinct, around).clip(max=len(distinct) - 1)
        known = distinct[near] == around
        if known.sum() < SHUFFLED_SHARE * len(words):
            return ()
        best, have = 0, need
        for first in np.flatnonzero(known)[: len(words)].tolist():
            window = near[first : first + width][known[first : first + width]]
            seen = np.minimum(np.bincount(window, minlength=len(distinct)), need)
            if seen.sum() > best:
                best, have = int(seen.sum()), seen
        if best < SHUFFLED_SHARE * len(words):
            return ()
        left = have.copy()
        mask = np.zeros(len(words), dtype=bool)
        for i, word in enumerate(number.tolist()):
            mask[i] = left[word] > 0
            left[word] -= 1
        return to_stretches(mask)


class _TextNgrams:
    """The words of texts and their n-grams, made once for each of the usual sizes."""

    def __init__(self, words: Words, usual: tuple[int, ...]) -> None:
        self._words = words
        self._usual = usual
        self._ngrams: dict[int, Grams] = {}

    def start(self, i: int) -> int:
        """Number of the text's first word."""
        return int(self._words.starts[i])

    def words(self, i: int) -> Hashes:
        """Words of the text."""
        return self._words.hashes[self._words.starts[i] : self._words.starts[i + 1]]

    def ngrams(self, i: int, size: int) -> Hashes:
        """Windows of the text; a text of fewer words has none."""
        if self._words.starts[i + 1] - self._words.starts[i] < size:
            return np.empty(0, np.uint64)
        if size not in self._usual:
            return text_windows(self.words(i), size)
        if size not in self._ngrams:
            self._ngrams[size] = windows(self._words, size)
        grams = self._ngrams[size]
        return grams.hashes[grams.starts[i] : grams.starts[i + 1]]


def _equal_texts(words: Words, known: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Numbers of the texts whose hash is `known`, and what that one has."""
    if known:
        hashes = words.spans(words.starts[:-1], words.starts[1:]).tolist()
        for i in [i for i, text_hash in enumerate(hashes) if text_hash in known]:
            yield i, known[hashes[i]]


def _densest(positions: Positions, width: int) -> tuple[int, int]:
    """First and last of the positions in the `width` words that hold most of them."""
    last = np.searchsorted(positions, positions + width, side="right") - 1
    first = int(np.argmax(last - np.arange(len(positions))))
    return int(positions[first]), int(positions[last[first]])
