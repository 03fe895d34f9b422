"""Passages: what of a benchmark record identifies it and may not be seen in training.

- its prompt: everything that comes before the answer, without the system prompt;
- the question in it, where there is more in the prompt: what is left without the choices of a
  multiple-choice question, the last sentence that asks, and what no other prompt of the benchmark
  has where an instruction is shared;
- its answer, where that is long (two n-grams' worth) and given to one prompt only: short answers
  and stock phrases identify nothing;
- prompt and answer together, of which something of both has to be seen; all of the prompt, where
  it is too short to identify the record, or is one that a tenth of the benchmark's records share;
- all of a text;
- its choices with the question, its context, and every other column with enough words.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.curate.steps.contamination.benchmarks import Benchmark, Item
from tasks.curate.steps.contamination.disguises import strip_accents
from tasks.curate.text.ngrams import Words, covered, hash_words, windows
from tasks.curate.text.normalise import words

SHORTEST_PASSAGE = 7
"""Words from which a passage is looked for inside records: a quote of six words is no leak."""
SHORTEST_QUESTION = 5
"""Words from which a question that is a part of its prompt is a passage by itself."""
QUESTION_SHARE = 0.7
"""Share of such a question that has to be seen: less may be a turn of phrase."""

_SHARED_NGRAM = 5  # words in a row that two prompts have in common where they share an instruction
_SHARED_SHARE = 0.2  # share of a prompt in such words from which the rest counts as the question
_LABEL = r"[(\[]?{}[)\].:]\s"
_CHOICES = re.compile(
    rf"(?:^|\s){_LABEL.format('A')}.*?\s{_LABEL.format('B')}|(?:^|\s){_LABEL.format('a')}.*?\s"
    rf"{_LABEL.format('b')}|^\s*{_LABEL.format('1')}.*?^\s*{_LABEL.format('2')}",
    re.DOTALL | re.MULTILINE,
)
_HEADING = re.compile(r"^\s*(?:answer )?(?:options|choices)\s*:.*", re.DOTALL | re.I | re.M)
_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n+")


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a benchmark record that identifies it.

    Attributes:
        item: the record.
        part: `prompt`, `question`, `answer`, `record` (prompt and answer), or what `Item.more` has.
        text: its words as they are compared, a space between them.
        length: how many.
        needed: so many first words have to be seen, or the rest is no evidence.
        border: something on both sides of that word has to be seen, unless it is 0.
        whole: it is a leak only as a whole turn or record: too short to be looked for inside.
    """

    item: Item
    part: str
    text: str
    length: int
    needed: int = 0
    border: int = 0
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Passages:
    """All of them; `owner` is the number of the prompt that each belongs to, and `file` of the
    benchmark; `prompts` counts the distinct prompts of each benchmark, and `shared` are those that
    identify no record."""

    passages: list[Passage]
    owner: list[int]
    file: list[int]
    prompts: list[int]
    shared: list[str]


def compared(text: str) -> str:
    """The words of a text as they are compared, accents left out."""
    return " ".join(words(strip_accents(text)))


def extract_passages(benchmarks: Sequence[Benchmark], ngram: int) -> Passages:
    """The passages of all benchmark records; of equal ones the first."""
    found: dict[tuple[bool, str, str], Passage] = {}
    owners: dict[tuple[bool, str, str], tuple[int, int]] = {}
    items = [
        [(item, compared(item.prompt), compared(item.answer)) for item in benchmark.records]
        for benchmark in benchmarks
    ]
    prompts_of: dict[str, set[str]] = defaultdict(set)
    for of_file in items:
        for _, prompt, answer in of_file:
            prompts_of[answer].add(prompt)
    shared = {prompt for of_file in items for prompt in _shared(of_file)}
    numbers: dict[tuple[int, str], int] = {}
    for file, of_file in enumerate(items):
        for item, prompt, answer in of_file:
            owner = numbers.setdefault((file, prompt), len(numbers))
            unique = len(prompts_of[answer]) == 1
            for passage in _passages_of(item, prompt, answer, prompt in shared, unique, ngram):
                key = (passage.whole, passage.part if passage.whole else "", passage.text)
                found.setdefault(key, passage)
                owners.setdefault(key, (file, owner))
    distinct = [{prompt for _, prompt, _ in of_file} - {""} for of_file in items]
    firsts = {
        prompt: (file, item)
        for file, of_file in enumerate(items)
        for item, prompt, _ in of_file[::-1]
    }
    for text, (file, item) in _questions(firsts, shared):
        whole = _word_count(text) < SHORTEST_PASSAGE
        key = (whole, "prompt" if whole else "", text)
        if key not in found:
            found[key] = Passage(item, "question", text, _word_count(text), whole=whole)
            owners[key] = (file, numbers[file, compared(item.prompt)])
    return Passages(
        list(found.values()),
        [owner for _, owner in owners.values()],
        [file for file, _ in owners.values()],
        [len(of_file) for of_file in distinct],
        sorted(shared),
    )


def _passages_of(
    item: Item, prompt: str, answer: str, shared: bool, unique: bool, ngram: int
) -> Iterator[Passage]:
    """`shared`: the prompt identifies no record; `unique`: no other prompt has this answer."""
    prompt_words, answer_words = _word_count(prompt), _word_count(answer)
    both = f"{prompt} {answer}".strip()
    if prompt_words >= SHORTEST_PASSAGE and not shared:
        yield Passage(item, "prompt", prompt, prompt_words)
        if answer_words >= SHORTEST_PASSAGE and unique:
            yield Passage(item, "record", both, prompt_words + answer_words, border=prompt_words)
    else:
        if prompt_words > 1 and not shared:
            yield Passage(item, "prompt", prompt, prompt_words, whole=True)
        if both:
            length = prompt_words + answer_words
            short = length < SHORTEST_PASSAGE
            yield Passage(item, "record", both, length, needed=prompt_words, whole=short)
    if answer_words >= 2 * ngram and unique:
        yield Passage(item, "answer", answer, answer_words)
    for name, raw in item.more:
        text = compared(raw)
        if _word_count(text) >= SHORTEST_PASSAGE and text not in (prompt, answer):
            yield Passage(item, name, text, _word_count(text))


def _shared(items: Sequence[tuple[Item, str, str]]) -> list[str]:
    """Prompts that many records of one benchmark have: they identify none of them."""
    distinct = {(prompt, answer) for _, prompt, answer in items}
    counts = Counter(prompt for prompt, _ in distinct)
    enough = max(2, len(distinct) / 10)
    return [prompt for prompt, count in counts.items() if prompt and count > enough]


def _questions(
    firsts: dict[str, tuple[int, Item]], shared: set[str]
) -> Iterator[tuple[str, tuple[int, Item]]]:
    """Questions inside of prompts, each that only one prompt has."""
    prompts = [prompt for prompt in firsts if prompt not in shared]
    found: dict[str, set[str]] = defaultdict(set)
    for prompt, rest in zip(prompts, _distinct_stretches(prompts), strict=True):
        for text in (rest, *map(compared, _questions_in(firsts[prompt][1].prompt))):
            if SHORTEST_QUESTION <= _word_count(text) < _word_count(prompt):
                found[text].add(prompt)
    for text, having in found.items():
        if len(having) == 1:
            yield text, firsts[next(iter(having))]


def _questions_in(prompt: str) -> Iterator[str]:
    """The prompt without its choices, and the last sentence of that which asks."""
    choices = _HEADING.search(prompt) or _CHOICES.search(prompt)
    stem = prompt[: choices.start()] if choices else prompt
    if choices:
        yield stem
    sentences = [text for text in _SENTENCE.split(stem) if text.rstrip("\"')]* ").endswith("?")]
    if sentences and _word_count(compared(sentences[-1])) >= SHORTEST_PASSAGE:
        yield sentences[-1]


def _distinct_stretches(prompts: Sequence[str]) -> Iterator[str]:
    """The longest stretch of each prompt that no other has, where much of the rest is shared."""
    hashed = hash_words(list(prompts))
    mask = _in_several(hashed)
    for i, prompt in enumerate(prompts):
        of_prompt = mask[hashed.starts[i] : hashed.starts[i + 1]]
        if of_prompt.mean() < _SHARED_SHARE if len(of_prompt) else True:
            yield ""
            continue
        edges = np.flatnonzero(np.diff(of_prompt.astype(np.int8), prepend=1, append=1))
        sizes = edges[1::2] - edges[0::2]
        longest = int(np.argmax(sizes)) if len(sizes) else -1
        if longest < 0:
            yield ""
            continue
        begin, end = int(edges[2 * longest]), int(edges[2 * longest + 1])
        yield " ".join(prompt.split(" ")[begin:end])


def _in_several(hashed: Words) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """(words,) which words are in a 5-gram that several of the texts have."""
    grams = windows(hashed, _SHARED_NGRAM)
    owner = np.repeat(np.arange(len(hashed.starts) - 1), np.diff(grams.starts))
    pairs = np.unique(np.stack([grams.hashes, owner.astype(np.uint64)]), axis=1)
    known, counts = np.unique(pairs[0], return_counts=True)
    # A text of fewer words is one window, which would reach into the next text.
    often = np.isin(grams.hashes, known[counts > 1]) & (
        np.diff(hashed.starts)[owner] >= _SHARED_NGRAM
    )
    return covered(grams.begin[often], _SHARED_NGRAM, len(hashed.hashes))


def _word_count(text: str) -> int:
    return text.count(" ") + 1 if text else 0
