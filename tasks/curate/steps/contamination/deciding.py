"""Which records hold a passage of a benchmark, by what all records have in common."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.curate.settings import Decontamination
from tasks.curate.steps.contamination.matching import SHUFFLED_SHARE
from tasks.curate.steps.contamination.overlaps import (
    PARTIAL,
    Background,
    Overlap,
    Stretch,
    share_of_passage,
    to_mask,
)
from tasks.curate.steps.contamination.passage_index import CLOSE_NGRAM, COMMON, PassageIndex
from tasks.curate.steps.contamination.passages import QUESTION_SHARE
from tasks.curate.text.ngrams import Positions

RARE_WORDS = 6
"""Words that the evidence names: the rarest of those that match."""

_END_TOLERANCE = 2  # words by which the ends of one stretch may differ between records
_MOST_STRETCHES = 1000  # of one passage, that are compared
_INEXACT = 1.1  # times `min_information` that anything but a whole turn has to be worth


@dataclass(frozen=True, slots=True)
class Contamination:
    """By which overlap, share, bits and n-gram a record holds a passage, which setting moves that
    line, and the rarest of the words that match."""

    overlap: Overlap
    share: float
    bits: float
    ngram: int
    setting: str
    rare_words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Measure:
    """Stretches of one kind of n-gram, and the share of the passage from which they are a leak."""

    stretches: Sequence[Stretch]
    bound: float
    ngram: int


def decide(
    index: PassageIndex,
    settings: Decontamination,
    overlaps: Mapping[int, Sequence[Overlap]],
    counts: Positions,
) -> dict[int, Contamination]:
    """The records that hold a passage, by number.

    Boilerplate is what the records have in common, so all of them are decided on together; when
    some are dropped, what the others share is counted anew, until nothing more is dropped: what is
    kept would be kept again.

    Args:
        index: the passages.
        settings: the bounds.
        overlaps: what each record has of passages, by its number.
        counts: (words + 1,) how often all records say each word of the vocabulary, and how many
            words they say.
    """
    bits = index.vocabulary.bits(counts[:-1], int(counts[-1]))
    found: dict[int, Contamination] = {}
    while True:
        left = {number: of_record for number, of_record in overlaps.items() if number not in found}
        decider = _Decider(index, settings, Background(bits, _common(index, left.values())))
        new = {
            number: worst
            for number, of_record in left.items()
            if (worst := decider.worst(of_record)) is not None
        }
        if not new:
            return found
        found |= new


def _common(index: PassageIndex, overlaps: Iterable[Sequence[Overlap]]) -> dict[int, list[Stretch]]:
    """Stretches of each passage that more than `COMMON` records have from end to end.

    What is before and after may match by chance, so ends count as the same within
    `_END_TOLERANCE` words. A text that several records have counts once.
    """
    counts: dict[int, Counter[Stretch]] = defaultdict(Counter)
    known: set[tuple[int, int]] = set()
    for of_record in overlaps:
        for overlap in of_record:
            text = (overlap.passage, overlap.origin)
            if overlap.origin and text in known:
                continue
            known.add(text)
            counts[overlap.passage].update(set(overlap.close or overlap.exact))
    common: dict[int, list[Stretch]] = {}
    for number, stretches in counts.items():
        passage = index.passages[number]
        if passage.part not in PARTIAL:
            del stretches[(0, passage.length)]
        if stretches.total() <= COMMON:
            continue
        often = stretches.most_common(_MOST_STRETCHES)
        ends = np.array([stretch for stretch, _ in often])
        weights = np.array([count for _, count in often])
        near = (abs(ends[:, None] - ends[None]) <= _END_TOLERANCE).all(axis=2)
        shared = (near * weights).sum(axis=1) > COMMON
        common[number] = [(begin, end) for begin, end in ends[shared].tolist()]
    return common


class _Decider:
    """Decides on one record at a time, with what is known of all of them."""

    def __init__(
        self, index: PassageIndex, settings: Decontamination, background: Background
    ) -> None:
        self._index = index
        self._settings = settings
        self._background = background

    def worst(self, overlaps: Sequence[Overlap]) -> Contamination | None:
        """The largest share of a passage that is a leak; of equal ones that of the longest."""
        worst: Contamination | None = None
        for overlap in overlaps:
            for found in self._leaks(overlap):
                if worst is None or self._rank(found) > self._rank(worst):
                    worst = found
        return worst

    def _rank(self, found: Contamination) -> tuple[float, int, int]:
        number = found.overlap.passage
        return found.share, self._index.passages[number].length, -number

    def _leaks(self, overlap: Overlap) -> Iterator[Contamination]:
        settings, number = self._settings, overlap.passage
        passage = self._index.passages[number]
        if overlap.whole:
            bits = float(self._index.bits(number, self._background.bits).sum())
            if bits >= settings.min_information or passage.part == "record":
                ngram = min(settings.ngram, passage.length)
                yield self._contamination(overlap, overlap.exact, 1.0, bits, ngram)
            return
        for measure in self._measures(overlap):
            if not measure.stretches:
                continue
            if measure.ngram < settings.ngram and settings.max_paraphrase == 1:
                continue
            share, bits = share_of_passage(self._index, number, measure.stretches, self._background)
            least = QUESTION_SHARE if passage.part == "question" else 0.0
            if share < max(measure.bound, least) or bits < _INEXACT * settings.min_information:
                continue
            ngram = min(measure.ngram, passage.length)
            yield self._contamination(overlap, measure.stretches, share, bits, ngram)

    def _measures(self, overlap: Overlap) -> tuple[_Measure, ...]:
        settings = self._settings
        return (
            _Measure(overlap.exact, settings.max_overlap, settings.ngram),
            _Measure(overlap.close, settings.max_paraphrase, CLOSE_NGRAM),
            _Measure(overlap.shuffled, max(settings.max_paraphrase, SHUFFLED_SHARE), 1),
        )

    def _contamination(
        self, overlap: Overlap, stretches: Sequence[Stretch], share: float, bits: float, ngram: int
    ) -> Contamination:
        number = overlap.passage
        length = self._index.passages[number].length
        exact = ngram == min(self._settings.ngram, length)
        setting = "max_overlap" if exact else "max_paraphrase"
        if share == 1.0:
            setting = "min_information"
        seen = np.flatnonzero(to_mask(stretches, length))
        worth = self._index.bits(number, self._background.bits)[seen]
        texts = self._index.word_texts(number)
        rare: dict[str, None] = {}
        for i in np.lexsort((seen, -worth)).tolist():
            rare[texts[seen[i]]] = None
            if len(rare) == RARE_WORDS:
                break
        return Contamination(
            overlap, share, bits, ngram, f"{self._settings.KEY}.{setting}", tuple(rare)
        )
