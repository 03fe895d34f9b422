"""Contamination: training records that hold a benchmark record, with the evidence for a person.

Word n-grams as in Brown et al. 2020 ("Language Models are Few-Shot Learners", appendix C), but one
n-gram in common is no verdict: most such flags are false. What counts is the share of the
benchmark's passage (`passages`) that the record has, measured

- in n-grams (13 words, or the whole passage where it is shorter) anywhere in the record: copies,
  whole or in part, whatever surrounds them;
- in 5-grams at one place of the record, at least seven words of them in a row: copies in which
  words were changed. Of a copy with every tenth word changed a third is left in 13-grams, and more
  than four fifths in 5-grams. Where both fall short, letters are compared without regard to where
  words end, for copies that lost their hyphens, apostrophes or spaces;
- in single words at one place, whatever their order, of passages of a dozen words and more: copies
  whose words were shuffled.

Words count by how rare they are (`rarity`): the share is one of bits, not of words, and whatever
matches has to be worth `curate.min_information` bits by itself (a tenth more where it is not the
whole prompt of a turn). So a common phrase is no leak, and three rare words may be one.

Looked at are all turns with reasoning and tool calls, the system prompt, the definitions of tools,
and what each of them says without accents, escapes and encodings (`disguises`). A system prompt
that holds a benchmark record makes every record with it a leak; what many records' system prompt
has in common with a benchmark otherwise counts as one record's.

Boilerplate does not count towards the share, on either side of the division: words that more than
`COMMON` prompts, or a tenth of a benchmark's prompts (three at least), have in common, and
stretches of a passage that more than `COMMON` training records have, all of them from the same
word to the same word (copies of a leak are cut differently). Only a passage that is there from its
first word to its last is a leak in any case.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tasks.curate.ledger import Evidence
from tasks.curate.steps.contamination.anchors import Anchors
from tasks.curate.steps.contamination.benchmarks import Benchmark
from tasks.curate.steps.contamination.disguises import (
    bare,
    decoded,
    long_ones,
    long_tokens,
    revealed,
)
from tasks.curate.steps.contamination.passages import (
    QUESTION_SHARE,
    SHORTEST_PASSAGE,
    Passages,
    collect,
)
from tasks.curate.steps.contamination.rarity import Bits, Vocabulary
from tasks.curate.text.ngrams import (
    Grams,
    Hashes,
    Positions,
    Words,
    among,
    covered,
    hash_words,
    spelt,
    stretches,
    windows,
)
from tasks.curate.text.normalise import words
from tasks.curate.text.turn_texts import Said, answer_turn, said, spoken, surroundings, user_turns
from tasks.records import Record
from tasks.settings import Curate

STEP = "decontaminate"

COMMON = 10
"""What more prompts or more training records have than this is boilerplate."""
RARE_WORDS = 6
"""Words that the evidence names: the rarest of those that match."""

DISGUISED, ENCODED, SQUEEZED = "in disguise", "base64", "without spaces"
"""Places: what turns say without escapes and accents, in base64, and letter by letter."""

_CLOSE = 5  # words of the n-grams that are looked at closely, at one place
_LETTERS = 24  # letters in a row that stand for a 5-gram where words are not told apart
_LONGEST = 200_000  # letters of a record that is looked at in that way
_SHORT = 24  # words below which a passage is looked for by 5-grams instead of 7-grams
_PIECED = 0.7  # share of a passage in several pieces that are no quote though each is short
_FEWEST = 0.1  # share of a passage in anchors below which no measure can reach its bound
_SQUEEZED = 0.15  # the same of letters
_LOOSE = 2  # words by which the ends of one stretch may differ between records
_STRETCHES = 1000  # of one passage, that are compared
_LEADING = 3 * COMMON  # passages that one n-gram leads to: a record has about three with it
_MOST = 40  # passages that one record is compared with
_BRIEF = 16  # words below which half of a passage is hardly more than a phrase
_BRIEF_SHARE = 0.6  # of its words in 5-grams, or
_BRIEF_ORDER = 0.8  # of its words in their order, as where few were changed
_PARTIAL = ("answer", "question")  # of which even all is boilerplate where many records have it
_INEXACT = 1.1  # times `min_information` that anything but a whole turn has to be worth
_KEYS, _KEYS_NEEDED = 5, 4  # rarest words of a passage, by which a shuffled copy is looked for
_KEY_BITS = 12.0
_SHUFFLED = 12  # words from which a passage is looked for in any order
_SHUFFLED_SHARE = 0.85
_SHUFFLED_WIDTH = 1.25  # length of the place where a shuffled copy is, in lengths of the passage

_JOINED = re.compile(r"\w[-'\u2019_/.]\w")

Run: TypeAlias = tuple[int, int]
"""Words `[begin, end)` of a passage that a record has in a row."""
Asked: TypeAlias = tuple[Sequence[int], int]


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a record has of a passage.

    Attributes:
        passage: its number.
        runs: in n-grams anywhere.
        close: in 5-grams at one place.
        loose: in single words at one place, in any order; empty where that is not enough.
        whole: it is a turn of the record, or all of it.
        place: where in the record, if not in what its turns say.
        origin: equal for records whose text at that place is the same; 0: of the record alone.
    """

    passage: int
    runs: tuple[Run, ...]
    close: tuple[Run, ...]
    loose: tuple[Run, ...] = ()
    whole: bool = False
    place: str = ""
    origin: int = 0

    def row(self) -> list[Any]:
        """As JSON."""
        return [
            self.passage, self.runs, self.close, self.loose, self.whole, self.place, self.origin,
        ]  # fmt: skip

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> "Overlap":
        """From JSON."""
        passage, *measured, whole, place, origin = row
        runs, close, loose = (tuple((begin, end) for begin, end in one) for one in measured)
        return cls(passage, runs, close, loose, whole, place, origin)


@dataclass(frozen=True, slots=True)
class Verdict:
    """By which overlap, share, bits and n-gram a record holds a passage, which setting moves that
    line, and the rarest of the words that match."""

    overlap: Overlap
    share: float
    bits: float
    ngram: int
    setting: str
    rare: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Look:
    """Texts to be looked at: of records, turn by turn, or of what surrounds them.

    Attributes:
        said: their words.
        numbers: of each text the records that have it.
        asked: of a text, by its number, the turns that ask, and the first that no longer does.
        place: of each text where it is.
        origin: of each text what tells it from others, where several records have it.
    """

    said: Said
    numbers: Sequence[Sequence[int]]
    asked: Callable[[int], Asked]
    place: Sequence[str]
    origin: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Common:
    """What the judge knows of all records: bits of each word of the passages, and stretches of a
    passage that many records have."""

    bits: Bits
    runs: Mapping[int, Sequence[Run]]


class Guard:
    """What may not be seen, ready to be looked for; memory grows with the benchmarks only.

    Its passages depend on the benchmarks and the settings alone, so every worker builds the same.
    """

    def __init__(self, benchmarks: Sequence[Benchmark], settings: Curate) -> None:
        self._settings = settings
        found = collect(benchmarks, settings.ngram)
        self.passages = found.passages
        texts = [passage.text for passage in self.passages]
        self._words = hash_words(texts)
        self.vocabulary = Vocabulary.of([text.split(" ") for text in texts if text])
        self._word = self.vocabulary.places(self._words.hashes)
        self._windows: dict[int, Grams] = {}
        self._joins: dict[int, bool] = {}
        spans = self._words.spans(self._words.starts[:-1], self._words.starts[1:]).tolist()
        self._wholes: dict[int, int] = {}
        self._turns: dict[int, int] = {}
        for i in range(len(self.passages) - 1, -1, -1):
            passage = self.passages[i]
            if passage.whole or passage.part in ("prompt", "question"):
                of_kind = self._wholes if passage.part == "record" else self._turns
                of_kind[spans[i]] = i
        inside = np.array([not passage.whole for passage in self.passages], dtype=bool)
        self._boilerplate = self._general(inside, found)
        own = np.concatenate(([0], np.cumsum(~self._boilerplate)))
        ends = self._words.starts
        sizes = own[ends[1:]] - own[ends[:-1]]
        self._sizes = np.where(sizes == 0, np.diff(ends), sizes)
        lengths = np.diff(self._words.starts)
        self._anchors = [
            Anchors.of(self._words, size, inside & chosen, _LEADING, self._boilerplate)
            for size, chosen in (
                (SHORTEST_PASSAGE, lengths >= _SHORT),
                (_CLOSE, lengths < _SHORT),
            )
        ]
        self._keys = self._rarest(inside & (lengths >= _SHUFFLED))

    def count(self, said: Said) -> Positions:
        """(words + 1,) how often records say each word of `vocabulary`, and how many they say."""
        hashes = said.turns.hashes
        return np.append(self.vocabulary.count(hashes), len(hashes))

    def overlaps(self, records: Sequence[Record], said: Said) -> dict[int, list[Overlap]]:
        """What the records of a batch have of passages, by their number; most have nothing."""
        found: dict[int, list[Overlap]] = defaultdict(list)
        if not self.passages:
            return found

        def asked(i: int) -> Asked:
            return user_turns(records[i]), answer_turn(records[i])

        each = range(len(records))
        own = _Look(said, [(i,) for i in each], asked, [""] * len(each), [0] * len(each))
        texts = [spoken(record) for record in records]
        for number, overlap in self._looked(own, texts):
            found[number].append(overlap)
        more, their_texts = _elsewhere(records, texts, asked)
        if more is not None:
            for number, overlap in self._looked(more, their_texts):
                found[number].append(overlap)
        for number in long_tokens(texts):
            for overlap in self._without_spaces(texts[number]):
                found[number].append(overlap)
        return found

    def judge(
        self, overlaps: Mapping[int, Sequence[Overlap]], counts: Positions | None = None
    ) -> dict[int, Verdict]:
        """The records that hold a passage, by number.

        Boilerplate is what the records have in common, so all of them are judged together; when
        some are dropped, what the others share is counted anew, until nothing more is dropped:
        what is kept would be kept again.

        Args:
            overlaps: what each record has of passages, by its number.
            counts: the sum of what `count` says of all records; None: nothing is known of them.
        """
        if counts is None:
            counts = np.zeros(len(self.vocabulary.words) + 1, dtype=np.int64)
        bits = self.vocabulary.bits(counts[:-1], int(counts[-1]))[self._word]
        guilty: dict[int, Verdict] = {}
        while True:
            left = {number: found for number, found in overlaps.items() if number not in guilty}
            common = _Common(bits, self._common(left.values()))
            new = {
                number: verdict
                for number, found in left.items()
                if (verdict := self._verdict(found, common)) is not None
            }
            if not new:
                return guilty
            guilty |= new

    def evidence(self, record: Record, verdict: Verdict, records: int = 1) -> Evidence:
        """The record's longest stretch in its own words, beside the benchmark's text.

        `records` have the text in which it is (a system prompt, tools) in common.
        """
        overlap = verdict.overlap
        passage = self.passages[overlap.passage]
        runs = overlap.close or overlap.runs or overlap.loose
        place: Evidence = {"place": overlap.place} if overlap.place else {}
        if records > 1:
            place["records"] = records
        return {
            "benchmark": passage.item.source,
            "benchmark_id": passage.item.id,
            "benchmark_line": passage.item.line,
            "part": passage.part,
            **place,
            "overlap": round(verdict.share, 4),
            "ngram": verdict.ngram,
            "bits": round(verdict.bits, 1),
            "rare_words": list(verdict.rare),
            "setting": verdict.setting,
            "text": _matching(record, runs, self._of(overlap.passage)),
            "benchmark_text": _cut(passage.item.said(passage.part)),
        }

    # What a record has

    def _looked(self, look: _Look, texts: Sequence[str]) -> Iterator[tuple[int, Overlap]]:
        """Overlaps of texts, with the number of each record that has the text."""
        for i, overlap in self._overlaps(look, texts):
            place, origin = look.place[i], look.origin[i]
            if place:
                overlap = replace(overlap, place=place, origin=origin)
            for number in look.numbers[i]:
                yield number, overlap

    def _overlaps(self, look: _Look, texts: Sequence[str]) -> Iterator[tuple[int, Overlap]]:
        for i, passage in self._whole_ones(look):
            run = ((0, self.passages[passage].length),)
            yield i, Overlap(passage, run, run, whole=True)
        of_all = look.said.records
        told = _Told(of_all, (self._settings.ngram, _CLOSE))
        strong: set[tuple[int, int]] = set()
        for i, passage, places in self._candidates(of_all):
            runs, close = self._compare(passage, told, i, places)
            enough = self._enough(passage, runs, close)
            if not enough and self._may_be_squeezed(passage, len(places), texts[i]):
                close = self._squeezed(passage, spelt([texts[i]]).hashes, close)
                enough = self._enough(passage, (), close)
            if close and not self._more_than_a_phrase(passage, told, i, places, close):
                close = ()
                enough = self._enough(passage, runs, ())
            if enough:
                strong.add((i, passage))
            if runs or close:
                yield i, Overlap(passage, runs, close)
        for i, passage, places in self._keys.found(of_all, _KEYS_NEEDED):
            if (i, passage) in strong:
                continue
            loose = self._shuffled(passage, told.words(i), places - told.start(i))
            if loose:
                yield i, Overlap(passage, (), (), loose)

    def _whole_ones(self, look: _Look) -> Iterator[tuple[int, int]]:
        """Texts, and passages that they have as a whole turn or in all."""
        turns, of_all, first = look.said.turns, look.said.records, look.said.first
        for turn, passage in _equal(turns, self._turns):
            i = int(np.searchsorted(first, turn, side="right")) - 1
            if turn - first[i] in look.asked(i)[0]:
                yield i, passage
        # A prompt of several turns, up to the answer.
        for i in np.flatnonzero(np.diff(first) > 2).tolist():
            end = int(first[i]) + look.asked(i)[1]
            span = turns.spans(turns.starts[first[i : i + 1]], turns.starts[end : end + 1])
            if end > first[i] + 1 and (found := self._turns.get(int(span[0]))) is not None:
                yield i, found
        yield from _equal(of_all, self._wholes)

    def _candidates(self, said: Words) -> Iterator[tuple[int, int, Positions]]:
        """Text, passage and the places of the anchors that they have in common."""
        best: dict[int, list[tuple[float, int, Positions]]] = defaultdict(list)
        for anchors in self._anchors:
            for i, passage, places in anchors.found(said):
                share = (len(places) + anchors.size - 1) / self._own(passage)
                if share >= _FEWEST:
                    best[i].append((share, -passage, places))
        for i, found in best.items():
            found.sort(key=lambda one: one[:2], reverse=True)
            for _, number, places in found[:_MOST]:
                yield i, -number, places

    def _compare(
        self, passage: int, told: "_Told", i: int, places: Positions
    ) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
        """Words of the passage that a text has in n-grams, and those in 5-grams at one place."""
        length = self.passages[passage].length
        size = min(self._settings.ngram, length)
        runs: tuple[Run, ...] = ()
        # Where no words are boilerplate an n-gram is so many anchors in a row.
        anchor = SHORTEST_PASSAGE if length >= _SHORT else _CLOSE
        if len(places) > size - anchor or self._own(passage) < length:
            runs = _runs(self._seen(passage, size, told.grams(i, size)))
        begin, end = _densest(places - told.start(i), 2 * length)
        size = min(_CLOSE, length)
        around = told.grams(i, size)[max(begin - length, 0) : max(end + length - size + 1, 0)]
        mask = self._seen(passage, size, around)
        close = _runs(mask)
        longest = max((last - first for first, last in close), default=0)
        several = len(close) > 1 and mask.mean() >= _PIECED
        if longest < SHORTEST_PASSAGE and not several and longest < length:
            close = ()
        return runs, close

    def _more_than_a_phrase(
        self, passage: int, told: "_Told", i: int, places: Positions, close: Sequence[Run]
    ) -> bool:
        """Whether a text has so much of a brief passage that it is no turn of phrase."""
        length = self.passages[passage].length
        if length >= _BRIEF or _mask(close, length).mean() >= _BRIEF_SHARE:
            return True
        begin, end = _densest(places - told.start(i), 2 * length)
        around = told.words(i)[max(begin - length, 0) : end + length].tolist()
        matcher = SequenceMatcher(None, self._of(passage).tolist(), around, autojunk=False)
        same = sum(block.size for block in matcher.get_matching_blocks())
        return same >= _BRIEF_ORDER * length

    def _seen(self, passage: int, size: int, told: Hashes) -> npt.NDArray[np.bool_]:
        """Which words of the passage lie in n-grams that `told` has, too."""
        grams = self._grams(size)
        first, last = grams.starts[passage], grams.starts[passage + 1]
        begin = np.flatnonzero(among(grams.hashes[first:last], np.sort(told)))
        return covered(begin, size, self.passages[passage].length)

    def _grams(self, size: int) -> Grams:
        """Windows of the passages, made once for each size."""
        if size not in self._windows:
            self._windows[size] = windows(self._words, size)
        return self._windows[size]

    def _enough(self, passage: int, runs: Sequence[Run], close: Sequence[Run]) -> bool:
        """Whether one of the measures reaches its bound, as far as the passage alone tells."""
        known = _Common(self._base, {})
        return (
            self._share(passage, runs, known)[0] >= self._settings.max_contamination
            or self._share(passage, close, known)[0] >= self._settings.max_paraphrase
        )

    @cached_property
    def _base(self) -> Bits:
        return self.vocabulary.base[self._word]

    def _may_be_squeezed(self, passage: int, places: int, text: str) -> bool:
        """Whether letters may tell more than words: something joins words on one of the sides."""
        enough = places + _CLOSE >= _SQUEEZED * self._own(passage)
        return enough and (self._joined(passage) or _JOINED.search(text) is not None)

    def _joined(self, passage: int) -> bool:
        known = self._joins.get(passage)
        if known is None:
            one = self.passages[passage]
            known = self._joins[passage] = _JOINED.search(one.item.said(one.part)) is not None
        return known

    def _squeezed(self, passage: int, theirs: Hashes, close: tuple[Run, ...]) -> tuple[Run, ...]:
        """The same by letters alone, for copies that lost the signs or spaces between words."""
        if not _LETTERS <= len(theirs) <= _LONGEST:
            return close
        of_passage = self.passages[passage].text.split(" ")
        ours = spelt([self.passages[passage].text]).hashes
        if len(ours) < _LETTERS:
            return close
        same = among(stretches(ours, _LETTERS), np.sort(stretches(theirs, _LETTERS)))
        if not same.any():
            return close
        inside = covered(np.flatnonzero(same), _LETTERS, len(ours))
        lengths = np.array([len(word.encode("utf-8", "surrogatepass")) for word in of_passage])
        ends = np.cumsum(lengths)
        hits = np.concatenate(([0], np.cumsum(inside)))
        mask = hits[ends] - hits[ends - lengths] == lengths
        found = _runs(mask | _mask(close, len(of_passage)))
        longest = max((end - begin for begin, end in found), default=0)
        return found if longest >= SHORTEST_PASSAGE else close

    def _without_spaces(self, text: str) -> Iterator[Overlap]:
        """Passages that long tokens hold, letter by letter."""
        theirs = spelt([long_ones(revealed(text))])
        if not _LETTERS <= len(theirs.hashes) <= _LONGEST:
            return
        found = self._lettered.found(theirs)
        ranked = sorted((-len(places), passage) for _, passage, places in found)
        for _, passage in ranked[:_MOST]:
            close = self._squeezed(passage, theirs.hashes, ())
            if close:
                yield Overlap(passage, (), close, place=SQUEEZED)

    @cached_property
    def _lettered(self) -> Anchors:
        """As `_anchors`, of letters instead of words."""
        letters = spelt([passage.text for passage in self.passages])
        inside = np.array([not passage.whole for passage in self.passages], dtype=bool)
        return Anchors.of(letters, _LETTERS, inside, COMMON, np.zeros(len(letters.hashes), bool))

    def _shuffled(self, passage: int, told: Hashes, places: Positions) -> tuple[Run, ...]:
        """Words of the passage that one place of a text has in any order, if nearly all."""
        of_passage = self._of(passage)
        distinct, number = np.unique(of_passage, return_inverse=True)
        need = np.bincount(number, minlength=len(distinct))
        width = int(_SHUFFLED_WIDTH * len(of_passage)) + 2
        begin, end = _densest(places, width)
        around = told[max(end - width, 0) : begin + width]
        near = np.searchsorted(distinct, around).clip(max=len(distinct) - 1)
        known = distinct[near] == around
        if known.sum() < _SHUFFLED_SHARE * len(of_passage):
            return ()
        best, have = 0, need
        for first in np.flatnonzero(known)[: len(of_passage)].tolist():
            window = near[first : first + width][known[first : first + width]]
            seen = np.minimum(np.bincount(window, minlength=len(distinct)), need)
            if seen.sum() > best:
                best, have = int(seen.sum()), seen
        if best < _SHUFFLED_SHARE * len(of_passage):
            return ()
        left = have.copy()
        mask = np.zeros(len(of_passage), dtype=bool)
        for i, word in enumerate(number.tolist()):
            mask[i] = left[word] > 0
            left[word] -= 1
        return _runs(mask)

    # What follows from all of it

    def _common(self, overlaps: Iterable[Sequence[Overlap]]) -> dict[int, list[Run]]:
        """Stretches of each passage that more than `COMMON` records have from end to end.

        What stands before and after may match by chance, so ends count as the same within
        `_LOOSE` words. A text that several records have counts once.
        """
        counts: dict[int, Counter[Run]] = defaultdict(Counter)
        known: set[tuple[int, int]] = set()
        for found in overlaps:
            for overlap in found:
                text = (overlap.passage, overlap.origin)
                if overlap.origin and text in known:
                    continue
                known.add(text)
                counts[overlap.passage].update(set(overlap.close or overlap.runs))
        common: dict[int, list[Run]] = {}
        for passage, runs in counts.items():
            if self.passages[passage].part not in _PARTIAL:
                del runs[(0, self.passages[passage].length)]
            if runs.total() <= COMMON:
                continue
            often = runs.most_common(_STRETCHES)
            ends, weights = np.array([run for run, _ in often]), np.array([n for _, n in often])
            near = (abs(ends[:, None] - ends[None]) <= _LOOSE).all(axis=2)
            shared = (near * weights).sum(axis=1) > COMMON
            common[passage] = [(begin, end) for begin, end in ends[shared].tolist()]
        return common

    def _general(self, inside: npt.NDArray[np.bool_], found: Passages) -> npt.NDArray[np.bool_]:
        """Which words of the passages lie in 5-grams that many prompts of a benchmark have."""
        grams = windows(self._words, _CLOSE)
        passage = np.repeat(np.arange(len(self.passages)), np.diff(grams.starts))
        searched = inside[passage]
        hashes, passage, at = grams.hashes[searched], passage[searched], grams.at[searched]
        if not len(hashes):
            return np.zeros(len(self._words.hashes), dtype=bool)
        owners = np.array(found.owner, dtype=np.uint64)[passage]
        files = np.array(found.file, dtype=np.uint64)[passage]
        cases = np.unique(np.stack([hashes, files, owners]), axis=1)
        kinds, having = np.unique(cases[:2], axis=1, return_counts=True)
        of_file = np.array(found.prompts)[kinds[1].astype(np.int64)]
        most = np.where(of_file == 2, 1, np.clip(of_file / 10, 2, COMMON))
        prompts = windows(hash_words(found.shared), _CLOSE).hashes
        general = np.union1d(kinds[0][having > most], prompts)
        return covered(at[among(hashes, general)], _CLOSE, len(self._words.hashes))

    def _rarest(self, chosen: npt.NDArray[np.bool_]) -> Anchors:
        """The rarest words of the chosen passages, by which a shuffled copy is found."""
        hashes: list[int] = []
        owners: list[int] = []
        base, told = self.vocabulary.base, self.vocabulary.told
        for passage in np.flatnonzero(chosen).tolist():
            of_passage = np.unique(self._word[self._span(passage)])
            rare = of_passage[base[of_passage] >= _KEY_BITS]
            if len(rare) < _KEYS_NEEDED:
                continue
            rank = np.lexsort((rare, -base[rare], told[rare]))[:_KEYS]
            hashes += self.vocabulary.hashes[rare[rank]].tolist()
            owners += [passage] * len(rank)
        order = np.lexsort((owners, hashes))
        return Anchors.leading(
            1, np.array(hashes, np.uint64)[order], np.array(owners, np.int64)[order]
        )

    def _verdict(self, found: Sequence[Overlap], common: _Common) -> Verdict | None:
        best: Verdict | None = None
        for overlap in found:
            for verdict in self._verdicts(overlap, common):
                if best is None or self._rank(verdict) > self._rank(best):
                    best = verdict
        return best

    def _rank(self, verdict: Verdict) -> tuple[float, int, int]:
        passage = verdict.overlap.passage
        return verdict.share, self.passages[passage].length, -passage

    def _verdicts(self, overlap: Overlap, common: _Common) -> Iterator[Verdict]:
        settings, number = self._settings, overlap.passage
        passage = self.passages[number]
        if overlap.whole:
            bits = float(common.bits[self._span(number)].sum())
            if bits >= settings.min_information or passage.part == "record":
                ngram = min(settings.ngram, passage.length)
                yield self._found(overlap, common, overlap.runs, 1.0, bits, ngram)
            return
        measures = (
            (overlap.runs, settings.max_contamination, settings.ngram),
            (overlap.close, settings.max_paraphrase, _CLOSE),
            (overlap.loose, max(settings.max_paraphrase, _SHUFFLED_SHARE), 1),
        )
        for runs, bound, ngram in measures:
            if not runs or (ngram < settings.ngram and settings.max_paraphrase == 1):
                continue
            share, bits = self._share(number, runs, common)
            least = QUESTION_SHARE if passage.part == "question" else 0.0
            if share >= max(bound, least) and bits >= _INEXACT * settings.min_information:
                yield self._found(overlap, common, runs, share, bits, min(ngram, passage.length))

    def _found(
        self,
        overlap: Overlap,
        common: _Common,
        runs: Sequence[Run],
        share: float,
        bits: float,
        ngram: int,
    ) -> Verdict:
        exact = ngram == min(self._settings.ngram, self.passages[overlap.passage].length)
        setting = "max_contamination" if exact else "max_paraphrase"
        if share == 1.0:
            setting = "min_information"
        span = self._span(overlap.passage)
        seen = np.flatnonzero(_mask(runs, span.stop - span.start))
        worth = common.bits[span][seen]
        rare: dict[str, None] = {}
        for i in np.lexsort((seen, -worth)).tolist():
            rare[self.vocabulary.words[self._word[span][seen[i]]]] = None
            if len(rare) == RARE_WORDS:
                break
        return Verdict(overlap, share, bits, ngram, f"curate.{setting}", tuple(rare))

    def _share(self, number: int, runs: Sequence[Run], common: _Common) -> tuple[float, float]:
        """Share of a passage's own bits (no boilerplate) that `runs` have, and how many bits."""
        if not runs:
            return 0.0, 0.0
        passage = self.passages[number]
        seen = _mask(runs, passage.length)
        span = self._span(number)
        bits = common.bits[span]
        if seen.all() and (passage.part not in _PARTIAL or passage.whole):
            return 1.0, float(bits.sum())
        if not seen[: passage.needed].all():
            return 0.0, 0.0
        if passage.border and not (seen[: passage.border].any() and seen[passage.border :].any()):
            return 0.0, 0.0
        own = ~(self._boilerplate[span] | _mask(common.runs.get(number, ()), passage.length))
        hits = seen & own
        if int(hits.sum()) < SHORTEST_PASSAGE:
            return 0.0, 0.0
        worth = float(bits[hits].sum())
        return worth / float(bits[own].sum()), worth

    def _own(self, number: int) -> int:
        return int(self._sizes[number])

    def _of(self, number: int) -> Hashes:
        return self._words.hashes[self._span(number)]

    def _span(self, number: int) -> slice:
        return slice(int(self._words.starts[number]), int(self._words.starts[number + 1]))


class _Told:
    """The words of a batch's texts, and their n-grams, made once for each usual size."""

    def __init__(self, said: Words, usual: tuple[int, ...]) -> None:
        self._said = said
        self._usual = usual
        self._grams: dict[int, Grams] = {}

    def start(self, i: int) -> int:
        """Number of the text's first word."""
        return int(self._said.starts[i])

    def words(self, i: int) -> Hashes:
        """Words of the text."""
        return self._said.hashes[self._said.starts[i] : self._said.starts[i + 1]]

    def grams(self, i: int, size: int) -> Hashes:
        """Windows of the text; a text of fewer words has none."""
        if self._said.starts[i + 1] - self._said.starts[i] < size:
            return np.empty(0, np.uint64)
        if size not in self._usual:
            return stretches(self.words(i), size)
        if size not in self._grams:
            self._grams[size] = windows(self._said, size)
        grams = self._grams[size]
        return grams.hashes[grams.starts[i] : grams.starts[i + 1]]


def _elsewhere(
    records: Sequence[Record], texts: Sequence[str], asked: Callable[[int], Asked]
) -> tuple[_Look | None, list[str]]:
    """What else is looked at: what turns say in disguise, and what surrounds them, each once."""
    found: dict[tuple[str, ...], tuple[str, list[int], Asked]] = {}
    for number, (record, text) in enumerate(zip(records, texts, strict=True)):
        plain = revealed(text)
        if plain is not text and plain != text:
            turns = tuple(revealed(turn) for turn in said(record))
            found.setdefault((str(number), *turns), (DISGUISED, [number], asked(number)))
        for place, surrounding in surroundings(record) if record.kind != "text" else ():
            entry = found.setdefault((place, revealed(surrounding)), (place, [], ([0], 1)))
            entry[1].append(number)
    for number in long_tokens(texts):
        if hidden := decoded(texts[number]):
            found.setdefault((str(number), hidden), (ENCODED, [number], ([0], 1)))
    if not found:
        return None, []
    turns_of = [key[1:] for key in found]
    first = np.concatenate(([0], np.cumsum([len(one) for one in turns_of]))).astype(np.int64)
    heard = Said(hash_words([text for one in turns_of for text in one]), first)
    of_all = heard.records
    spans = of_all.spans(of_all.starts[:-1], of_all.starts[1:]).tolist()
    entries = list(found.values())
    own = (DISGUISED, ENCODED)
    look = _Look(
        heard,
        [numbers for _, numbers, _ in entries],
        lambda i: entries[i][2],
        [place for place, _, _ in entries],
        # Whole numbers that JSON readers keep exactly.
        [0 if entry[0] in own else span >> 11 for span, entry in zip(spans, entries, strict=True)],
    )
    return look, ["\n".join(one) for one in turns_of]


def _equal(said: Words, known: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """Numbers of the texts that are one of the known ones, and what that one has."""
    if known:
        spans = said.spans(said.starts[:-1], said.starts[1:]).tolist()
        for i in [i for i, span in enumerate(spans) if span in known]:
            yield i, known[spans[i]]


def _runs(mask: npt.NDArray[np.bool_]) -> tuple[Run, ...]:
    padded = np.zeros(len(mask) + 2, dtype=bool)
    padded[1:-1] = mask
    edges = np.flatnonzero(padded[1:] != padded[:-1]).tolist()
    return tuple(zip(edges[0::2], edges[1::2], strict=True))


def _mask(runs: Sequence[Run], length: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros(length, dtype=bool)
    for begin, end in runs:
        mask[begin:end] = True
    return mask


def _densest(places: Positions, width: int) -> tuple[int, int]:
    """First and last of the places in the stretch of `width` words that has most of them."""
    last = np.searchsorted(places, places + width, side="right") - 1
    first = int(np.argmax(last - np.arange(len(places))))
    return int(places[first]), int(places[last[first]])


def _matching(record: Record, runs: Sequence[Run], passage: Hashes) -> str:
    """The longest run as the record has it, in its own words where they can be found."""
    text = spoken(record)
    around = [surrounding for _, surrounding in surroundings(record)]
    begin, end = max(runs, key=lambda run: (run[1] - run[0], -run[0]))
    for form in (text, *around, *map(revealed, (text, *around)), decoded(text)):
        if (found := _stretch(form, passage[begin:end])) is not None:
            return _cut(found)
    return _cut(text)


def _stretch(text: str, run: Hashes) -> str | None:
    size = min(len(run), SHORTEST_PASSAGE)
    theirs = windows(hash_words([bare(text)]), size).hashes
    places = np.flatnonzero(theirs == windows(Words(run, np.array([0, len(run)])), size).hashes[0])
    if not len(places):
        return None
    # Words as compared are counted in pieces of the original, to find the way back to it.
    first, last = int(places[0]), int(places[0]) + len(run)
    pieces = text.split()
    of_piece = np.cumsum([len(words(bare(piece))) for piece in pieces])
    from_piece = int(np.searchsorted(of_piece, first, side="right"))
    to_piece = int(np.searchsorted(of_piece, last, side="left"))
    return " ".join(pieces[from_piece : to_piece + 1])


def _cut(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "…"
