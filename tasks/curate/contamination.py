"""Contamination: training records that give away a benchmark, with the evidence for a person.

Word n-grams as in Brown et al. 2020 ("Language Models are Few-Shot Learners", appendix C), but one
n-gram in common is no verdict: most such flags are false. What counts is the share of the
benchmark's passage that stands in the record, measured twice:

- in n-grams (13 words, or the whole passage where it is shorter) anywhere in the record: copies,
  whole or in part, whatever stands around them;
- in 5-grams at one place of the record, at least seven words of them in a row: copies in which
  words were changed. Of a copy with every tenth word changed a third is left in 13-grams, and more
  than four fifths in 5-grams. Where both fall short, letters are compared without regard to where
  words end, for copies that lost their hyphens and apostrophes.

What of a benchmark record may not be seen (its passages):

- its prompt: everything that comes before the answer, without the system prompt. The same prompt
  is a leak whatever the answer;
- its answer, where that is long (two n-grams' worth) and given to one prompt only: short answers
  and stock phrases identify nothing;
- prompt and answer together, of which something of both has to be seen; all of the prompt, where
  it is too short to identify the record, or is one that a tenth of the benchmark's records share;
- all of a text.

Boilerplate does not count towards the share, on either side of the division: words that more than
`COMMON` passages have in common, and stretches of a passage that more than `COMMON` training
records have, all of them from the same word to the same word (copies of a leak are cut
differently). Only a passage that is there from its first word to its last is a leak in any case.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tasks.curate.ledger import Evidence
from tasks.curate.ngrams import (
    Hashes,
    Positions,
    Words,
    among,
    covered,
    hash_words,
    stretches,
    windows,
)
from tasks.curate.normalise import words
from tasks.curate.reading import Benchmark
from tasks.curate.turns import Said, answer_turn, parts, spoken, user_turns
from tasks.records import Record
from tasks.settings import Curate

STEP = "decontaminate"

SHORTEST_PASSAGE = 7
"""Words from which a passage is looked for inside records: a quote of six words is no leak."""
SHORTEST_PROMPT = 5
"""Words from which a prompt, too short to be looked for inside, is a leak as a whole turn."""
COMMON = 10
"""What more passages or more training records have than this is boilerplate."""

_CLOSE = 5  # words of the n-grams that are looked at closely, at one place
_LETTERS = 24  # letters in a row that stand for a 5-gram where words are not told apart
_LONGEST = 200_000  # characters of a record that is looked at in that way
_SHORT = 24  # words below which a passage is looked for by 5-grams instead of 7-grams
_PIECED = 0.7  # share of a passage in several pieces that are no quote though each is short
_FEWEST = 0.15  # share of a passage in anchors below which no measure can reach its bound
_LOOSE = 2  # words by which the ends of one stretch may differ between records
_STRETCHES = 1000  # of one passage, that are compared
_MOST = 3  # passages that one record is held against

Run: TypeAlias = tuple[int, int]
"""Words `[begin, end)` of a passage that a record has in a row."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a benchmark record that identifies it.

    The first `needed` words have to be seen, or the rest is no evidence. Of a record with a
    `border` something on both sides of that word has to be. `whole`: it is a leak only where it is
    a whole turn or record, since it is too short to be looked for inside.
    """

    record: Record
    part: Literal["prompt", "answer", "record"]
    length: int
    needed: int = 0
    border: int = 0
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a record has of a passage: in n-grams anywhere, and in 5-grams at one place."""

    passage: int
    runs: tuple[Run, ...]
    close: tuple[Run, ...]

    def row(self) -> list[Any]:
        """As JSON."""
        return [self.passage, self.runs, self.close]

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> "Overlap":
        """From JSON."""
        runs, close = (tuple((begin, end) for begin, end in one) for one in row[1:3])
        return cls(row[0], runs, close)


@dataclass(frozen=True, slots=True)
class Verdict:
    """By which overlap, share and n-gram a record gives a passage away."""

    overlap: Overlap
    share: float
    ngram: int


class Guard:
    """What may not be seen, ready to be looked for; memory grows with the benchmarks only.

    Its passages depend on the benchmarks and the settings alone, so every worker builds the same.
    """

    def __init__(self, benchmarks: Sequence[Benchmark], settings: Curate) -> None:
        self._settings = settings
        found = _passages(benchmarks, settings.ngram)
        self.passages = [passage for passage, _ in found]
        self._texts = [text for _, text in found]
        self._words = hash_words(self._texts)
        inside = np.array([not passage.whole for passage in self.passages], dtype=bool)
        of_all = np.arange(len(found))
        spans = self._words.spans(self._words.starts[:-1], self._words.starts[1:])
        self._turns = {
            int(spans[n]): n
            for n in of_all[~inside].tolist()[::-1]
            if self.passages[n].part == "prompt"
        }
        self._wholes = {
            int(spans[n]): n
            for n in of_all[~inside].tolist()[::-1]
            if self.passages[n].part == "record"
        }
        self._index(inside, _shared_prompts(benchmarks))

    def overlaps(self, records: Sequence[Record], said: Said) -> dict[int, list[Overlap]]:
        """What the records of a batch have of passages, by their number; most have nothing."""
        found: dict[int, list[Overlap]] = defaultdict(list)
        for number, passage in self._whole_ones(records, said):
            run = ((0, self.passages[passage].length),)
            found[number].append(Overlap(passage, run, run))
        of_all = said.records
        for number, passage, places in self._candidates(of_all):
            begin, end = of_all.starts[number], of_all.starts[number + 1]
            of_record = of_all.hashes[begin:end]
            runs, close = self._compare(passage, of_record, places - begin)
            if not self._enough(passage, runs, close):
                close = self._squeezed(passage, records[number], close)
            if runs or close:
                found[number].append(Overlap(passage, runs, close))
        return found

    def judge(self, overlaps: Mapping[int, Sequence[Overlap]]) -> dict[int, Verdict]:
        """The records that give a passage away, by number.

        Boilerplate is what the records have in common, so all of them are judged together; when
        some are dropped, what the others share is counted anew, until nothing more is dropped:
        what is kept would be kept again.
        """
        guilty: dict[int, Verdict] = {}
        while True:
            left = {number: found for number, found in overlaps.items() if number not in guilty}
            common = self._common(left.values())
            new = {
                number: verdict
                for number, found in left.items()
                if (verdict := self._verdict(found, common)) is not None
            }
            if not new:
                return guilty
            guilty |= new

    def _common(self, overlaps: Iterable[Sequence[Overlap]]) -> dict[int, list[Run]]:
        """Stretches of each passage that more than `COMMON` records have from end to end.

        What stands before and after may match by chance, so ends count as the same within
        `_LOOSE` words.
        """
        counts: dict[int, Counter[Run]] = defaultdict(Counter)
        for found in overlaps:
            for overlap in found:
                counts[overlap.passage].update(set(overlap.close or overlap.runs))
        common: dict[int, list[Run]] = {}
        for passage, runs in counts.items():
            if self.passages[passage].part != "answer":
                del runs[(0, self.passages[passage].length)]
            if runs.total() <= COMMON:
                continue
            often = runs.most_common(_STRETCHES)
            ends, weights = np.array([run for run, _ in often]), np.array([n for _, n in often])
            near = (abs(ends[:, None] - ends[None]) <= _LOOSE).all(axis=2)
            shared = (near * weights).sum(axis=1) > COMMON
            common[passage] = [(begin, end) for begin, end in ends[shared].tolist()]
        return common

    def _index(self, inside: npt.NDArray[np.bool_], shared: Iterable[str]) -> None:
        """Find boilerplate, and make the anchors that lead from records to passages."""
        grams = windows(self._words, _CLOSE)
        owner = np.repeat(np.arange(len(self.passages)), np.diff(grams.starts))
        searched = inside[owner]
        hashes, owner, at = grams.hashes[searched], owner[searched], grams.at[searched]
        pairs = np.unique(np.stack([hashes, owner.astype(np.uint64)]), axis=1)
        known, having = np.unique(pairs[0], return_counts=True)
        prompts = windows(hash_words(list(shared)), _CLOSE).hashes
        general = np.union1d(known[having > COMMON], prompts)
        self._boilerplate = covered(at[among(hashes, general)], _CLOSE, len(self._words.hashes))
        lengths = np.diff(self._words.starts)
        self._anchors = [
            Anchors.of(self._words, size, inside & chosen)
            for size, chosen in (
                (SHORTEST_PASSAGE, lengths >= _SHORT),
                (_CLOSE, lengths < _SHORT),
            )
        ]

    def _whole_ones(self, records: Sequence[Record], said: Said) -> Iterator[tuple[int, int]]:
        """Records, and short passages that they have as a whole turn or in all."""
        starts = said.turns.starts
        if self._turns:
            spans = said.turns.spans(starts[:-1], starts[1:]).tolist()
            for number, record in enumerate(records):
                first = int(said.first[number])
                for turn in user_turns(record):
                    if (passage := self._turns.get(spans[first + turn])) is not None:
                        yield number, passage
            # A prompt of several turns, up to the answer.
            answers = [answer_turn(record) for record in records]
            begin = starts[said.first[:-1]]
            end = starts[said.first[:-1] + np.array(answers, np.int64)]
            for number, span in enumerate(said.turns.spans(begin, end).tolist()):
                passage = self._turns.get(span)
                if passage is not None and answers[number] > 1:
                    yield number, passage
        if self._wholes:
            of_all = said.records
            spans = of_all.spans(of_all.starts[:-1], of_all.starts[1:]).tolist()
            for number, span in enumerate(spans):
                if (passage := self._wholes.get(span)) is not None:
                    yield number, passage

    def _candidates(self, said: Words) -> Iterator[tuple[int, int, Positions]]:
        """Record, passage and the places of the anchors that they have in common."""
        best: dict[int, list[tuple[float, int, Positions]]] = defaultdict(list)
        for anchors in self._anchors:
            for record, passage, places in anchors.found(said):
                share = (len(places) + anchors.size - 1) / self._own(passage)
                if share >= _FEWEST:
                    best[record].append((share, -passage, places))
        for record, found in best.items():
            for _, number, places in sorted(found, key=lambda one: one[:2], reverse=True)[:_MOST]:
                yield record, -number, places

    def _compare(
        self, passage: int, said: Hashes, places: Positions
    ) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
        """Words of the passage that `said` has in n-grams, and those in 5-grams at one place."""
        of_passage = self._of(passage)
        size = min(self._settings.ngram, len(of_passage))
        runs = _runs(_seen(of_passage, said, size))
        begin, end = _densest(places, 2 * len(of_passage))
        around = said[max(begin - len(of_passage), 0) : end + len(of_passage)]
        close = _runs(_seen(of_passage, around, min(_CLOSE, len(of_passage))))
        longest = max((last - first for first, last in close), default=0)
        several = len(close) > 1 and _mask(close, len(of_passage)).mean() >= _PIECED
        if longest < SHORTEST_PASSAGE and not several:
            close = ()
        return runs, close

    def _enough(self, passage: int, runs: Sequence[Run], close: Sequence[Run]) -> bool:
        """Whether one of the measures reaches its bound, as far as the passage alone tells."""
        return (
            self._share(passage, runs, ()) >= self._settings.max_contamination
            or self._share(passage, close, ()) >= self._settings.max_paraphrase
        )

    def _squeezed(self, passage: int, record: Record, close: tuple[Run, ...]) -> tuple[Run, ...]:
        """The same by letters alone, for copies that lost the signs or spaces between words."""
        text = spoken(record)
        if len(text) > _LONGEST:
            return close
        theirs = "".join(words(text))
        of_passage = self._texts[passage].split(" ")
        ours = "".join(of_passage)
        seen = {theirs[at : at + _LETTERS] for at in range(len(theirs) - _LETTERS + 1)}
        begin = [at for at in range(len(ours) - _LETTERS + 1) if ours[at : at + _LETTERS] in seen]
        if not begin:
            return close
        inside = covered(np.array(begin), _LETTERS, len(ours))
        ends = np.cumsum([len(word) for word in of_passage])
        hits = np.concatenate(([0], np.cumsum(inside)))
        lengths = np.diff(ends, prepend=0)
        mask = hits[ends] - hits[ends - lengths] == lengths
        found = _runs(mask | _mask(close, len(of_passage)))
        return found if max(end - begin for begin, end in found) >= SHORTEST_PASSAGE else close

    def _verdict(
        self, found: Sequence[Overlap], common: Mapping[int, Sequence[Run]]
    ) -> Verdict | None:
        best: tuple[float, int, int, Overlap, int] | None = None
        for overlap in found:
            length = self.passages[overlap.passage].length
            measures = (
                (overlap.runs, self._settings.max_contamination, self._settings.ngram),
                (overlap.close, self._settings.max_paraphrase, _CLOSE),
            )
            for runs, bound, ngram in measures:
                share = self._share(overlap.passage, runs, common.get(overlap.passage, ()))
                exempt = ngram == _CLOSE and bound == 1
                if share > 0 and share >= bound and not exempt:
                    rank = (share, length, -overlap.passage, overlap, min(ngram, length))
                    best = rank if best is None or rank[:3] > best[:3] else best
        if best is None:
            return None
        return Verdict(best[3], best[0], best[4])

    def _share(self, number: int, runs: Sequence[Run], common: Sequence[Run]) -> float:
        """Share of a passage's own words (no boilerplate) that stand in `runs`."""
        passage = self.passages[number]
        seen = _mask(runs, passage.length)
        if seen.all() and (passage.part != "answer" or passage.whole):
            return 1.0
        if not seen[: passage.needed].all():
            return 0.0
        if passage.border and not (seen[: passage.border].any() and seen[passage.border :].any()):
            return 0.0
        own = ~(
            self._boilerplate[self._words.starts[number] : self._words.starts[number + 1]]
            | _mask(common, passage.length)
        )
        hits = int((seen & own).sum())
        return hits / int(own.sum()) if hits >= SHORTEST_PASSAGE else 0.0

    def _own(self, number: int) -> int:
        begin, end = self._words.starts[number], self._words.starts[number + 1]
        return int((~self._boilerplate[begin:end]).sum()) or int(end - begin)

    def _of(self, number: int) -> Hashes:
        return self._words.hashes[self._words.starts[number] : self._words.starts[number + 1]]

    def evidence(self, record: Record, verdict: Verdict) -> Evidence:
        """The record's longest stretch in its own words, beside the benchmark's text."""
        overlap = verdict.overlap
        passage = self.passages[overlap.passage]
        prompt, answer = parts(passage.record)
        said = {"prompt": prompt, "answer": answer, "record": spoken(passage.record)}
        return {
            "benchmark": passage.record.source,
            "benchmark_id": passage.record.id,
            "benchmark_line": passage.record.line,
            "part": passage.part,
            "overlap": round(verdict.share, 4),
            "ngram": verdict.ngram,
            "text": _matching(record, overlap.close or overlap.runs, self._of(overlap.passage)),
            "benchmark_text": _cut(said[passage.part]),
        }


@dataclass(frozen=True, slots=True)
class Anchors:
    """N-grams that lead to the passages that have them.

    Attributes:
        size: words of each.
        known: the n-grams, sorted.
        firsts: (n-grams + 1,) where the passages of each begin in `owners`.
        owners: the passages.
        maybe: a table of bits by the n-grams' upper bits, which spares nearly all searches.
        shift: how far down these bits are.
    """

    size: int
    known: Hashes
    firsts: Positions
    owners: Positions
    maybe: npt.NDArray[np.bool_]
    shift: np.uint64

    @classmethod
    def of(cls, words: Words, size: int, chosen: npt.NDArray[np.bool_]) -> "Anchors":
        """The n-grams of the chosen passages.

        What more than `COMMON` passages have leads to none, unless a passage has nothing else.
        """
        grams = windows(words, size)
        owner = np.repeat(np.arange(len(chosen)), np.diff(grams.starts))
        hashes, owner = grams.hashes[chosen[owner]], owner[chosen[owner]]
        order = np.lexsort((owner, hashes))
        hashes, owner = hashes[order], owner[order]
        new = np.ones(len(hashes), dtype=bool)
        new[1:] = (hashes[1:] != hashes[:-1]) | (owner[1:] != owner[:-1])
        hashes, owner = hashes[new], owner[new]
        rare = np.repeat(*_counted(hashes)) <= COMMON
        lonely = np.bincount(owner[rare], minlength=len(chosen)) == 0
        leads = rare | lonely[owner]
        hashes, owner = hashes[leads], owner[leads]
        known, first = np.unique(hashes, return_index=True)
        bits = max(16, (16 * len(known)).bit_length())
        shift = np.uint64(64 - bits)
        maybe = np.zeros(2**bits, dtype=bool)
        maybe[known >> shift] = True
        return cls(size, known, np.append(first, len(hashes)), owner, maybe, shift)

    def found(self, said: Words) -> Iterator[tuple[int, int, Positions]]:
        """Record, passage and the places (numbers of words) of the n-grams that both have."""
        if not len(self.known):
            return
        grams = windows(said, self.size)
        hit = np.flatnonzero(self.maybe[grams.hashes >> self.shift])
        near = np.searchsorted(self.known, grams.hashes[hit]).clip(max=len(self.known) - 1)
        same = self.known[near] == grams.hashes[hit]
        hit, near = hit[same], near[same]
        counts = self.firsts[near + 1] - self.firsts[near]
        which = np.repeat(np.arange(len(hit)), counts)
        if not len(which):
            return
        offset = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        passage = self.owners[self.firsts[near][which] + offset]
        record = np.searchsorted(grams.starts, hit[which], side="right") - 1
        order = np.lexsort((passage, record))
        record, passage, at = record[order], passage[order], grams.at[hit[which[order]]]
        new = np.ones(len(record), dtype=bool)
        new[1:] = (record[1:] != record[:-1]) | (passage[1:] != passage[:-1])
        first = np.flatnonzero(new)
        for begin, end in zip(first.tolist(), [*first[1:].tolist(), len(record)], strict=True):
            yield int(record[begin]), int(passage[begin]), at[begin:end]


def _counted(ranked: Hashes) -> tuple[Positions, Positions]:
    """How often each value of a sorted array is in it, twice: to repeat itself by."""
    counts = np.unique(ranked, return_counts=True)[1]
    return counts, counts


def _passages(benchmarks: Sequence[Benchmark], ngram: int) -> list[tuple[Passage, str]]:
    """The passages of all benchmark records and their texts; of equal ones the first stands."""
    shared = set(_shared_prompts(benchmarks))
    cases = []
    prompts_of: dict[str, set[str]] = defaultdict(set)
    for benchmark in benchmarks:
        for record in benchmark.records:
            prompt, answer = (" ".join(words(part)) for part in parts(record))
            cases.append((record, prompt, answer))
            prompts_of[answer].add(prompt)
    found: dict[tuple[bool, str, str], tuple[Passage, str]] = {}

    def add(
        record: Record,
        part: Literal["prompt", "answer", "record"],
        text: str,
        *,
        needed: int = 0,
        border: int = 0,
        whole: bool = False,
    ) -> None:
        key = (whole, part if whole else "", text)
        found.setdefault(key, (Passage(record, part, _count(text), needed, border, whole), text))

    for record, prompt, answer in cases:
        asked_for, told = _count(prompt), _count(answer)
        if asked_for >= SHORTEST_PASSAGE and prompt not in shared:
            add(record, "prompt", prompt)
            if told >= SHORTEST_PASSAGE and len(prompts_of[answer]) == 1:
                add(record, "record", f"{prompt} {answer}", border=asked_for)
        else:
            if asked_for >= SHORTEST_PROMPT and prompt not in shared:
                add(record, "prompt", prompt, whole=True)
            if asked_for + told:
                short = asked_for + told < SHORTEST_PASSAGE
                text = f"{prompt} {answer}".strip()
                add(record, "record", text, needed=asked_for, whole=short)
        if told >= 2 * ngram and len(prompts_of[answer]) == 1:
            add(record, "answer", answer)
    return list(found.values())


def _shared_prompts(benchmarks: Sequence[Benchmark]) -> list[str]:
    """Prompts that many records of one benchmark have: they identify none of them."""
    shared = []
    for benchmark in benchmarks:
        cases = {tuple(" ".join(words(p)) for p in parts(record)) for record in benchmark.records}
        counts = Counter(prompt for prompt, _ in cases)
        enough = max(2, len(cases) / 10)
        shared += [prompt for prompt, count in counts.items() if prompt and count > enough]
    return shared


def _count(text: str) -> int:
    return text.count(" ") + 1 if text else 0


def _seen(passage: Hashes, said: Hashes, size: int) -> npt.NDArray[np.bool_]:
    """Which words of the passage lie in n-grams that `said` has, too."""
    if len(said) < size:
        return np.zeros(len(passage), dtype=bool)
    theirs = set(stretches(said, size).tolist())
    begin = [at for at, gram in enumerate(stretches(passage, size).tolist()) if gram in theirs]
    return covered(np.array(begin, dtype=np.int64), size, len(passage))


def _runs(mask: npt.NDArray[np.bool_]) -> tuple[Run, ...]:
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0)).tolist()
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
    """The longest run as it stands in the record's own text."""
    text = spoken(record)
    said = hash_words([text])
    begin, end = max(runs, key=lambda run: (run[1] - run[0], -run[0]))
    size = min(end - begin, SHORTEST_PASSAGE)
    run = Words(passage[begin:end], np.array([0, end - begin]))
    theirs = windows(said, size).hashes
    places = np.flatnonzero(theirs == windows(run, size).hashes[0])
    if not len(places):
        return _cut(text)
    # Words as compared are counted in pieces of the original, to find the way back to it.
    first, last = int(places[0]), int(places[0]) + end - begin
    pieces = text.split()
    of_piece = np.cumsum([len(words(piece)) for piece in pieces])
    from_piece = int(np.searchsorted(of_piece, first, side="right"))
    to_piece = int(np.searchsorted(of_piece, last, side="left"))
    return _cut(" ".join(pieces[from_piece : to_piece + 1]))


def _cut(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "…"
