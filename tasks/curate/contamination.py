"""Contamination: training records that give away a benchmark, with the evidence for a person.

Word n-grams as in Brown et al. 2020 ("Language Models are Few-Shot Learners", appendix C), but one
n-gram in common is no verdict: most such flags are false. What counts is the share of the
benchmark's passage that stands in the record, in n-grams they have in common.

What of a benchmark record may not be seen (its passages):

- its prompt: everything that comes before the answer, without the system prompt. The same prompt
  is a leak whatever the answer;
- its answer, where that is long (two n-grams' worth) and given to one prompt only: short answers
  and stock phrases identify nothing;
- prompt and answer together, where the prompt alone is too short to identify the record, or is
  one that a tenth of the benchmark's records share;
- all of a text.

Boilerplate (n-grams that more than `COMMON` benchmark passages or training records have; Brown et
al. draw the same line) does not count towards the share, on either side of the division. Only a
passage that is there from its first word to its last is a leak in any case.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tasks.curate.ledger import Evidence, Sieved, drop
from tasks.curate.normalise import words
from tasks.curate.reading import Benchmark
from tasks.records import Record
from tasks.settings import Curate

STEP = "decontaminate"

SHORTEST_PASSAGE = 7
"""Words from which a passage is looked for inside records: a quote of six words is no leak."""
SHORTEST_PROMPT = 5
"""Words from which a prompt, too short to be looked for inside, is a leak as a whole turn."""
COMMON = 10
"""An n-gram that more passages or more training records have than this is boilerplate."""

_BATCH = 1000  # records whose n-grams are hashed at once
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that every word of a window keeps its weight

Words: TypeAlias = tuple[str, ...]
Hashes: TypeAlias = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a benchmark record that identifies it.

    The first `needed` words have to be seen, or the rest is no evidence.
    """

    record: Record
    part: Literal["prompt", "answer", "record"]
    words: Words
    needed: int = 0


def decontaminate(
    records: Sequence[Record], benchmarks: Sequence[Benchmark], settings: Curate
) -> Sieved:
    """Drop the records that hold at least `max_contamination` of a benchmark's passage."""
    passages = Passages.of(benchmarks, settings.ngram)
    index = Index(passages.inside, passages.shared, settings.ngram)
    said = (words(_spoken(record)) for record in records)
    found = list(
        tqdm(
            index.search(said),
            "decontaminate",
            len(records),
            unit=" records",
            disable=None,
            file=sys.stderr,
        )
    )
    common = index.common | _common(found)
    kept, dropped = [], []
    for record, hashes in zip(records, found, strict=True):
        evidence = passages.verbatim(record)
        if evidence is None and len(hashes):
            evidence = index.evidence(record, set(hashes.tolist()), common, settings)
        if evidence is None:
            kept.append(record)
        else:
            dropped.append(drop(record, STEP, "contaminated", evidence))
    return kept, dropped


@dataclass(frozen=True, slots=True)
class Passages:
    """What is looked for: passages inside records, and short ones as a whole turn or record.

    `shared` are prompts that many records of one benchmark have: they identify none of them.
    """

    inside: list[Passage]
    turns: dict[Words, Passage]
    wholes: dict[Words, Passage]
    shared: set[Words]

    @classmethod
    def of(cls, benchmarks: Sequence[Benchmark], ngram: int) -> "Passages":
        """The passages of all benchmark records; of equal ones the first stands for all."""
        shared = {prompt for benchmark in benchmarks for prompt in _shared_prompts(benchmark)}
        prompts_of: dict[Words, set[Words]] = defaultdict(set)
        cases = []
        for benchmark in benchmarks:
            for record in benchmark.records:
                prompt, answer = (tuple(words(part)) for part in _parts(record))
                cases.append((record, prompt, answer))
                prompts_of[answer].add(prompt)
        inside: dict[Words, Passage] = {}
        turns: dict[Words, Passage] = {}
        wholes: dict[Words, Passage] = {}
        for record, prompt, answer in cases:
            whole = prompt + answer
            if len(prompt) >= SHORTEST_PASSAGE and prompt not in shared:
                inside.setdefault(prompt, Passage(record, "prompt", prompt))
            else:
                if len(prompt) >= SHORTEST_PROMPT and prompt not in shared:
                    turns.setdefault(prompt, Passage(record, "prompt", prompt))
                target = inside if len(whole) >= SHORTEST_PASSAGE else wholes
                target.setdefault(whole, Passage(record, "record", whole, len(prompt)))
            if len(answer) >= 2 * ngram and len(prompts_of[answer]) == 1:
                inside.setdefault(answer, Passage(record, "answer", answer))
        wholes.pop((), None)
        return cls(list(inside.values()), turns, wholes, shared)

    def verbatim(self, record: Record) -> Evidence | None:
        """Evidence that a whole turn, or the whole record, is a short passage."""
        if self.turns:
            for turn in _asked(record):
                passage = self.turns.get(tuple(words(turn)))
                if passage is not None:
                    return _evidence(passage, 1.0, len(passage.words), turn)
        if self.wholes:
            passage = self.wholes.get(tuple(words(_spoken(record))))
            if passage is not None:
                return _evidence(passage, 1.0, len(passage.words), _spoken(record))
        return None


class Index:
    """Inverted index from n-gram hash to passages. A passage shorter than n is one n-gram.

    Words are numbered by the benchmarks' vocabulary, and a window's hash is a polynomial of its
    words' codes modulo 2^64, so one pass of NumPy over a batch of texts gives the hashes of all
    lengths in use. Memory grows with the benchmarks, not with the training data.
    """

    def __init__(self, passages: Sequence[Passage], shared: Iterable[Words], ngram: int) -> None:
        self._passages = passages
        self._ngram = ngram
        vocabulary = sorted({word for passage in passages for word in passage.words})
        # 0 is any other word: no passage has it, so no window over it is found.
        self._number = {word: number for number, word in enumerate(vocabulary, start=1)}
        self._sizes = {self._size(passage.words) for passage in passages}
        grams = [self._grams(passage.words) for passage in passages]
        having = Counter(gram for of_passage in grams for gram in set(of_passage))
        in_shared = {gram for prompt in shared for gram in self._grams(prompt)}
        self.common = {gram for gram, count in having.items() if count > COMMON} | in_shared
        self._grams_of = grams
        self._where: dict[int, list[int]] = defaultdict(list)
        for number, of_passage in enumerate(grams):
            for gram in set(of_passage) - self.common:
                self._where[gram].append(number)
        self._known = np.array(sorted(having), dtype=np.uint64)
        # A table of one bit of evidence a hash spares nearly all windows the binary search.
        bits = max(16, (16 * len(having)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._maybe = np.zeros(2**bits, dtype=bool)
        self._maybe[self._known >> self._shift] = True

    def search(self, texts: Iterable[Sequence[str]]) -> Iterator[Hashes]:
        """For each text (its words) the distinct known n-grams in it, sorted."""
        batch: list[Sequence[str]] = []
        for text in texts:
            batch.append(text)
            if len(batch) == _BATCH:
                yield from self._search(batch)
                batch = []
        yield from self._search(batch)

    def evidence(
        self, record: Record, found: set[int], common: set[int], settings: Curate
    ) -> Evidence | None:
        """The passage of which the record holds the largest share, if that is too much."""
        touched = {number for gram in found for number in self._where.get(gram, ())}
        best: tuple[float, int, int] | None = None
        for number in touched:
            share = self._share(number, found, common)
            if share >= settings.max_contamination and share > 0:
                rank = (share, len(self._passages[number].words), -number)
                best = rank if best is None else max(best, rank)
        if best is None:
            return None
        passage = self._passages[-best[2]]
        size = self._size(passage.words)
        return _evidence(passage, best[0], size, _matching(record, passage.words, size))

    def _share(self, number: int, found: set[int], common: set[int]) -> float:
        """Share of a passage's own words (no boilerplate) that stand in n-grams found."""
        passage = self._passages[number]
        size = self._size(passage.words)
        covered = bytearray(len(passage.words))
        boilerplate = bytearray(len(passage.words))
        for start, gram in enumerate(self._grams_of[number]):
            if gram in found:
                covered[start : start + size] = b"\x01" * size
            if gram in common:
                boilerplate[start : start + size] = b"\x01" * size
        if all(covered) and passage.part != "answer":
            return 1.0
        if not all(covered[: passage.needed]):
            return 0.0
        own = [hit for hit, general in zip(covered, boilerplate, strict=True) if not general]
        return sum(own) / len(own) if sum(own) >= SHORTEST_PASSAGE else 0.0

    def _size(self, passage: Words) -> int:
        return min(self._ngram, len(passage))

    def _grams(self, passage: Words) -> list[int]:
        numbers = np.array([self._number.get(word, 0) for word in passage], dtype=np.uint64)
        for size, hashes in _windows(_mix(numbers), self._size(passage)):
            if size == self._size(passage):
                return hashes.tolist()
        return []

    def _search(self, batch: Sequence[Sequence[str]]) -> Iterator[Hashes]:
        number = self._number.get
        starts: list[int] = []
        numbers: list[int] = []
        for text in batch:
            starts.append(len(numbers))
            numbers.extend([number(word, 0) for word in text])
            numbers.append(0)  # no window reaches over the border
        hits, owners = [np.empty(0, np.uint64)], [np.empty(0, np.intp)]
        codes = _mix(np.array(numbers, dtype=np.uint64))
        for size, hashes in _windows(codes, max(self._sizes, default=0)):
            if size in self._sizes:
                at = np.flatnonzero(self._maybe[hashes >> self._shift])
                near = np.searchsorted(self._known, hashes[at]).clip(max=len(self._known) - 1)
                at = at[self._known[near] == hashes[at]]
                hits.append(hashes[at])
                owners.append(np.searchsorted(starts, at, side="right") - 1)
        hit, owner = np.concatenate(hits), np.concatenate(owners)
        by_owner = np.argsort(owner, kind="stable")
        borders = np.searchsorted(owner[by_owner], np.arange(1, len(batch)))
        for of_text in np.split(hit[by_owner], borders)[: len(batch)]:
            yield np.unique(of_text)


def _windows(codes: Hashes, longest: int) -> Iterator[tuple[int, Hashes]]:
    """The hashes of all windows of 1, 2, … `longest` words, each from the one before."""
    hashes = np.zeros(len(codes) + 1, dtype=np.uint64)
    for size in range(1, min(longest, len(codes)) + 1):
        hashes = hashes[:-1] * _BASE + codes[size - 1 :]
        yield size, hashes


def _mix(numbers: Hashes) -> Hashes:
    """Spread small numbers over 64 bits (splitmix64, Steele et al. 2014)."""
    mixed = (numbers + np.uint64(1)) * _BASE
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _common(found: Sequence[Hashes]) -> set[int]:
    """The n-grams that more than `COMMON` records have."""
    if not found:
        return set()
    grams, counts = np.unique(np.concatenate(found), return_counts=True)
    return set(grams[counts > COMMON].tolist())


def _parts(record: Record) -> tuple[str, str]:
    """What was asked and what was answered, without the system prompt."""
    if "messages" in record.content:
        turns = _turns(record)
        if turns and turns[-1]["role"] == "assistant":
            return "\n".join(t["content"] for t in turns[:-1]), turns[-1]["content"]
        return "\n".join(t["content"] for t in turns), ""
    return record.prompt, record.completion or ""


def _spoken(record: Record) -> str:
    """All that the record says but the system prompt."""
    if "messages" in record.content:
        return "\n".join(turn["content"] for turn in _turns(record))
    return record.text


def _asked(record: Record) -> list[str]:
    """The turns that may be a benchmark's prompt: each of the user's, and all before the answer."""
    users = [turn["content"] for turn in _turns(record) if turn["role"] == "user"]
    return [*users, _parts(record)[0]]


def _turns(record: Record) -> list[dict[str, str]]:
    turns = record.content.get("messages", [])
    return [turn for turn in turns if turn["role"] not in ("system", "developer")]


def _shared_prompts(benchmark: Benchmark) -> set[Words]:
    cases = {tuple(tuple(words(part)) for part in _parts(record)) for record in benchmark.records}
    counts = Counter(prompt for prompt, _ in cases)
    enough = max(2, len(cases) / 10)
    return {prompt for prompt, count in counts.items() if count > enough}


def _matching(record: Record, passage: Words, size: int) -> str:
    """The longest stretch of the record's own text that the passage's n-grams cover."""
    grams = {passage[start : start + size] for start in range(len(passage) - size + 1)}
    text = _spoken(record)
    # Words as compared are counted in pieces of the original, to find the way back to it.
    pieces = text.split()
    said: list[str] = []
    piece_of: list[int] = []
    for number, piece in enumerate(pieces):
        of_piece = words(piece)
        said += of_piece
        piece_of += [number] * len(of_piece)
    best, start, end = (0, 0), 0, 0
    for at in range(len(said) - size + 1):
        if tuple(said[at : at + size]) in grams:
            start = start if at <= end and end else at
            end = at + size
            best = max(best, (end - start, -start))
    if not best[0]:
        return text
    first, last = -best[1], -best[1] + best[0] - 1
    return " ".join(pieces[piece_of[first] : piece_of[last] + 1])


def _evidence(passage: Passage, overlap: float, ngram: int, text: str) -> Evidence:
    prompt, answer = _parts(passage.record)
    said = {"prompt": prompt, "answer": answer, "record": _spoken(passage.record)}
    return {
        "benchmark": passage.record.source,
        "benchmark_id": passage.record.id,
        "benchmark_line": passage.record.line,
        "part": passage.part,
        "overlap": round(overlap, 4),
        "ngram": ngram,
        "text": _cut(text),
        "benchmark_text": _cut(said[passage.part]),
    }


def _cut(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "…"
