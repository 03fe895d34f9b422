"""The passages of the benchmarks, made ready to be looked up: words, n-grams, boilerplate, bits."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tasks.curate.steps.contamination.anchors import Anchors
from tasks.curate.steps.contamination.benchmarks import Benchmark
from tasks.curate.steps.contamination.passages import (
    SHORTEST_PASSAGE,
    Passage,
    Passages,
    extract_passages,
)
from tasks.curate.steps.contamination.rarity import Bits, Vocabulary
from tasks.curate.text.ngrams import (
    Grams,
    Hashes,
    covered,
    hash_letters,
    hash_words,
    is_member,
    windows,
)

COMMON = 10
"""What more prompts or more training records have than this is boilerplate."""
CLOSE_NGRAM = 5
"""Words of the n-grams that are compared at one place of a record."""
LETTERS_IN_A_ROW = 24
"""Letters that count as a 5-gram where words cannot be told apart."""
LONG_PASSAGE = 24
"""Words from which a passage is looked up by 7-grams instead of 5-grams."""
RARE_KEYS, RARE_KEYS_NEEDED = 5, 4
"""Rarest words of a passage, by which a shuffled copy is looked up, and how many a record needs."""

_MOST_PASSAGES_OF_ANCHOR = 3 * COMMON  # a record has about three anchors of a passage with it
_RARE_BITS = 12.0  # of a word, to be such a key
_SHORTEST_SHUFFLED = 12  # words from which a passage is looked up in any order


class PassageIndex:
    """Passages and the n-grams that lead to them; memory grows with the benchmarks only.

    It depends on the benchmarks and the n-gram size alone, so every worker builds the same.

    Attributes:
        passages: by their numbers.
        vocabulary: the words of all passages, each once.
        boilerplate: (words,) which words of the passages are in 5-grams that many prompts have.
        turns: the passages that are a leak as a whole turn, by the hash of their words.
        records: likewise, as all of a record.
        anchors: n-grams that lead to passages: 7-grams of long ones, 5-grams of the others.
        rare_keys: the rarest words of passages, which lead to shuffled copies.
    """

    def __init__(self, benchmarks: Sequence[Benchmark], ngram: int) -> None:
        found = extract_passages(benchmarks, ngram)
        self.passages = found.passages
        texts = [passage.text for passage in self.passages]
        self._words = hash_words(texts)
        self.vocabulary = Vocabulary.of([text.split(" ") for text in texts if text])
        self._vocabulary_number = self.vocabulary.places(self._words.hashes)
        self._ngrams: dict[int, Grams] = {}
        self.turns, self.records = self._whole_passages()
        searched = np.array([not passage.whole for passage in self.passages], dtype=bool)
        self.boilerplate = self._find_boilerplate(searched, found)
        before = np.concatenate(([0], np.cumsum(~self.boilerplate)))
        starts = self._words.starts
        sizes = before[starts[1:]] - before[starts[:-1]]
        lengths = np.diff(starts)
        self._sizes = np.where(sizes == 0, lengths, sizes)
        self.anchors = [
            Anchors.of(
                self._words, size, searched & chosen, _MOST_PASSAGES_OF_ANCHOR, self.boilerplate
            )
            for size, chosen in (
                (SHORTEST_PASSAGE, lengths >= LONG_PASSAGE),
                (CLOSE_NGRAM, lengths < LONG_PASSAGE),
            )
        ]
        self.rare_keys = self._find_rare_keys(searched & (lengths >= _SHORTEST_SHUFFLED))

    def words(self, number: int) -> Hashes:
        """(words,) the words of a passage."""
        return self._words.hashes[self._span(number)]

    def word_texts(self, number: int) -> list[str]:
        """The words of a passage as they are compared."""
        return [self.vocabulary.words[i] for i in self._vocabulary_number[self._span(number)]]

    def bits(self, number: int, of_vocabulary: Bits) -> Bits:
        """(words,) bits of the words of a passage, by those of the vocabulary."""
        return of_vocabulary[self._vocabulary_number[self._span(number)]]

    def is_boilerplate(self, number: int) -> npt.NDArray[np.bool_]:
        """(words,) which words of a passage are boilerplate of the benchmarks."""
        return self.boilerplate[self._span(number)]

    def words_without_boilerplate(self, number: int) -> int:
        """How many words of a passage are no boilerplate; of one that is nothing else, all."""
        return int(self._sizes[number])

    def ngrams(self, number: int, size: int) -> Hashes:
        """The windows of `size` words of a passage."""
        if size not in self._ngrams:
            self._ngrams[size] = windows(self._words, size)
        grams = self._ngrams[size]
        return grams.hashes[grams.starts[number] : grams.starts[number + 1]]

    @cached_property
    def letter_anchors(self) -> Anchors:
        """As `anchors`, of letters instead of words."""
        letters = hash_letters([passage.text for passage in self.passages])
        searched = np.array([not passage.whole for passage in self.passages], dtype=bool)
        none = np.zeros(len(letters.hashes), bool)
        return Anchors.of(letters, LETTERS_IN_A_ROW, searched, COMMON, none)

    def _span(self, number: int) -> slice:
        return slice(int(self._words.starts[number]), int(self._words.starts[number + 1]))

    def _whole_passages(self) -> tuple[dict[int, int], dict[int, int]]:
        """Numbers of the passages that are a whole turn, and all of a record; the first of equal
        ones."""
        turns: dict[int, int] = {}
        of_record: dict[int, int] = {}
        hashes = self._words.spans(self._words.starts[:-1], self._words.starts[1:]).tolist()
        for number in range(len(self.passages) - 1, -1, -1):
            passage = self.passages[number]
            if passage.whole or passage.part in ("prompt", "question"):
                (of_record if passage.part == "record" else turns)[hashes[number]] = number
        return turns, of_record

    def _find_boilerplate(
        self, searched: npt.NDArray[np.bool_], found: Passages
    ) -> npt.NDArray[np.bool_]:
        """(words,) which words are in 5-grams that many prompts of a benchmark have."""
        grams = windows(self._words, CLOSE_NGRAM)
        number = np.repeat(np.arange(len(self.passages)), np.diff(grams.starts))
        chosen = searched[number]
        hashes, number, begin = grams.hashes[chosen], number[chosen], grams.begin[chosen]
        if not len(hashes):
            return np.zeros(len(self._words.hashes), dtype=bool)
        prompts = np.array(found.owner, dtype=np.uint64)[number]
        files = np.array(found.file, dtype=np.uint64)[number]
        cases = np.unique(np.stack([hashes, files, prompts]), axis=1)
        kinds, having = np.unique(cases[:2], axis=1, return_counts=True)
        of_file = np.array(found.prompts)[kinds[1].astype(np.int64)]
        most = np.where(of_file == 2, 1, np.clip(of_file / 10, 2, COMMON))
        shared = windows(hash_words(found.shared), CLOSE_NGRAM).hashes
        boilerplate = np.union1d(kinds[0][having > most], shared)
        return covered(begin[is_member(hashes, boilerplate)], CLOSE_NGRAM, len(self._words.hashes))

    def _find_rare_keys(self, chosen: npt.NDArray[np.bool_]) -> Anchors:
        """The rarest words of the chosen passages."""
        hashes: list[int] = []
        owners: list[int] = []
        base, counts = self.vocabulary.base, self.vocabulary.counts
        for number in np.flatnonzero(chosen).tolist():
            distinct = np.unique(self._vocabulary_number[self._span(number)])
            rare = distinct[base[distinct] >= _RARE_BITS]
            if len(rare) < RARE_KEYS_NEEDED:
                continue
            rank = np.lexsort((rare, -base[rare], counts[rare]))[:RARE_KEYS]
            hashes += self.vocabulary.hashes[rare[rank]].tolist()
            owners += [number] * len(rank)
        order = np.lexsort((owners, hashes))
        return Anchors.leading(
            1, np.array(hashes, np.uint64)[order], np.array(owners, np.int64)[order]
        )


def passage_text(passage: Passage) -> str:
    """The text of a passage as the benchmark has it."""
    return passage.item.part_text(passage.part)
