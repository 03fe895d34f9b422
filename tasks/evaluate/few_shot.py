"""The base asked with examples in its prompt: does one need tuning at all?

The examples are turns before the question, where the template takes them (Brown et al. 2020,
"Language Models are Few-Shot Learners"). They are the same for every question, and are computed
once (`tasks.evaluate.scoring`, `tasks.model.decoder`).
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import records
from tasks.core.order import order_key
from tasks.evaluate.benchmarks import Benchmark, context_length
from tasks.evaluate.words import normalised
from tasks.model import encoding
from tasks.model.chat_rendering import Unrenderable
from tasks.records import INSTRUCTING, Chat, Record
from tasks.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LOOKED_AT = 2000  # training records among which examples are chosen


@dataclass(frozen=True, slots=True)
class Shots:
    """Examples for the prompt, in the order in which they stand there."""

    examples: tuple[Chat, ...]

    def before(self, record: Record, count: int) -> Record:
        """The record with the first `count` examples before its question, and behind what instructs
        the model; a text asks nothing, and stays as it is."""
        if not isinstance(record, Chat):
            return record
        split = next(
            (i for i, turn in enumerate(record.turns) if turn.role not in INSTRUCTING),
            len(record.turns),
        )
        shown = [
            replace(turn, learn=False) if turn.role == "assistant" else turn
            for example in self.examples[:count]
            for turn in example.turns
        ]
        return replace(record, turns=(*record.turns[:split], *shown, *record.turns[split:]))


@dataclass(frozen=True, slots=True)
class Asked:
    """Benchmarks whose questions have examples before them; none where there are no examples."""

    benchmarks: tuple[Benchmark, ...] = ()
    about: str = ""
    """The system in files, such as `base, 4 examples before each question`."""
    notes: tuple[str, ...] = ()


def ask(
    train: Path | None,
    benchmarks: Sequence[Benchmark],
    tokenizer: "PreTrainedTokenizerBase",
    settings: Settings,
) -> Asked:
    """The benchmarks with `evaluate.few_shot` examples of `train` before every question.

    Raises:
        BadInput: `train` cannot be read.
    """
    wanted = settings.evaluate.few_shot
    if train is None or not wanted:
        return Asked()
    shots = choose(train, wanted)
    if not shots.examples:
        return Asked(
            notes=(
                "The base was not asked with examples in its prompt: no training record is one "
                "question with one answer.",
            )
        )
    count = len(shots.examples)
    changed, shown = [], []
    for benchmark in benchmarks:
        asked, counts = with_shots(benchmark, shots, tokenizer, settings)
        changed.append(asked)
        shown += counts
    notes = []
    fewer = sum(number < count for number in shown)
    if fewer:
        notes.append(
            f"The base was asked with fewer than {count} examples in its prompt on {fewer} of "
            f"{len(shown)} questions: its context is too short for more, or its chat template "
            "does not take them."
        )
    if not any(shown):
        return Asked(notes=tuple(notes))
    label = f"base, {count} examples before each question"
    return Asked(tuple(changed), label, tuple(notes))


def choose(train: Path, count: int) -> Shots:
    """`count` training examples of usual length, in an order that looks random and is always the
    same: by the hash of their id.

    An example is one question with one answer. Of the first two thousand by that order those count
    whose length is between the quartiles; those come first whose answer and whose group none before
    them has, so that labels are all shown where there are few.

    Args:
        train: the file that the candidate was trained on.
        count: how many; fewer where there are fewer.

    Raises:
        BadInput: the file cannot be read.
    """
    read = (record for record in records.read(train) if not isinstance(record, records.BadLine))
    found = heapq.nsmallest(
        _LOOKED_AT,
        (example for record in read if (example := _example(record)) is not None),
        key=lambda example: order_key(f"few-shot:{example.id}"),
    )
    lengths = sorted(len(example.text) for example in found)
    if not lengths:
        return Shots(())
    shortest, longest = lengths[len(lengths) // 4], lengths[3 * len(lengths) // 4]
    usual = [example for example in found if shortest <= len(example.text) <= longest]
    return Shots(tuple(_varied(usual, count)))


def with_shots(
    benchmark: Benchmark, shots: Shots, tokenizer: "PreTrainedTokenizerBase", settings: Settings
) -> tuple[Benchmark, list[int]]:
    """The benchmark with examples before every question, and how many each question has.

    Answers, and the tokens of which a loss counts, are those of `benchmark`. A question has fewer
    examples, or none, where the base's context is too short or its template does not take them. A
    text asks nothing and stays as it is.
    """
    room = _Room(tokenizer, context_length(settings), settings.evaluate.max_new_tokens)
    shown = []
    examples, prompts = list(benchmark.examples), list(benchmark.prompts)
    for i, record in enumerate(benchmark.records):
        if not isinstance(record, Chat):
            continue
        shown.append(0)
        for count in range(len(shots.examples), 0, -1):
            found = room.encoded(shots.before(record, count), benchmark.examples[i])
            if found is not None:
                examples[i], prompt = found
                if i < len(prompts) and prompts[i] is not None:
                    prompts[i] = prompt
                shown[-1] = count
                break
    changed = replace(benchmark, examples=tuple(examples), prompts=tuple(prompts))
    return changed, shown


@dataclass(frozen=True, slots=True)
class _Room:
    """The context of a base, and what fits into it."""

    tokenizer: "PreTrainedTokenizerBase"
    context: int | None
    new_tokens: int

    def encoded(
        self, record: Record, plain: encoding.Example
    ) -> tuple[encoding.Example, list[int]] | None:
        """The record as example and as prompt; None where it does not fit, or what is learned is
        not what is learned of it `plain`."""
        try:
            example = encoding.encode(record, self.tokenizer)
            prompt = encoding.encode_prompt(record, self.tokenizer)
        except Unrenderable:
            return None
        longest = max(len(example.input_ids), len(prompt) + self.new_tokens)
        if self.context is not None and longest > self.context:
            return None
        return (example, prompt) if _targets(example) == _targets(plain) else None


def _targets(example: encoding.Example) -> list[int]:
    pairs = zip(example.input_ids[1:], example.learned[1:], strict=True)
    return [token for token, learned in pairs if learned]


def _example(record: Record) -> Chat | None:
    """The record as an example: its question and its (better) answer alone."""
    if record.kind not in ("chat", "preference") or record.tools:
        return None
    turns = tuple(turn for turn in record.turns if turn.role not in INSTRUCTING)
    if [turn.role for turn in turns] != ["user", "assistant"]:
        return None
    answer = turns[1]
    if not answer.content.strip() or answer.tool_calls or answer.learn is False:
        return None
    return Chat(
        id=record.id, source=record.source, line=record.line, group=record.group, turns=turns
    )


def _varied(examples: Sequence[Chat], count: int) -> Iterator[Chat]:
    """`count` of them in their order; those whose answer and group are both new come first."""
    answers: set[str] = set()
    groups: set[str] = set()
    first: list[Chat] = []
    rest: list[Chat] = []
    for example in examples:
        answer, group = normalised(example.turns[-1].content), example.group or example.id
        fresh = answer not in answers and group not in groups
        (first if fresh else rest).append(example)
        answers.add(answer)
        groups.add(group)
    yield from [*first, *rest][:count]
