"""Benchmarks as they are published, read for what training must not see.

Every format of a training record is read, and what is usual for benchmarks. Names of columns are
compared without case and blanks, also inside nested objects:

    question   question, query, problem, goal, ctx, sentence, premise with hypothesis, input(s),
               instruction with input, prompt, text, question_stem, stem
    context    context, passage, article, document, story, support, background
    choices    choices, options, endings, answer_choices, mc1_targets, mc2_targets: a list of texts
               or of objects, an object of letters, or {"text": [...], "label": [...]}; columns A to
               E, option1, sol1, choice_a, opa, answerA, ending0 and the like
    answer     answer(s), target(s), output, completion, solution, canonical_solution, code,
               label, answerKey, correct_answer(s), best_answer, gold, ...: a text, a list of them,
               {"text": [...]}, or the letter or number of a choice

Every other text of seven words or more is searched for, too, whatever the name of its column
(tests, explanations, rationales), unless many records of the file share it. A record whose answer
is not found is counted (`Benchmark.unanswered`): only its question is searched for.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from tasks import records
from tasks.core.errors import BadInput
from tasks.curate.settings import Curate, Privacy
from tasks.curate.steps.privacy.redaction import KINDS, mask
from tasks.curate.steps.reading.inputs import no_record
from tasks.curate.text.normalise import words
from tasks.curate.text.turn_texts import prompt_and_answer
from tasks.records import BadLine, Record
from tasks.rendering.markdown import visible

SHORTEST_COLUMN = 7
"""Words from which the text of an unknown column is searched for."""

_QUESTION = (
    "premise", "question", "query", "problem", "goal", "ctx", "sentence", "question_stem", "stem",
    "instruction", "prompt", "input", "inputs", "text",
)  # fmt: skip
_CONTEXT = ("context", "passage", "article", "document", "story", "support", "background")
_CHOICES = (
    "choices", "options", "endings", "answer_choices", "mc1_targets", "mc2_targets", "candidates",
    "target_scores", "multiple_choice_targets",
)  # fmt: skip
_ANSWER = (
    "answer", "answers", "answerkey", "answer_key", "target", "targets", "best_answer",
    "correct_answer", "correct_answers", "answers_spans", "correct", "gold", "gold_label", "cop",
    "correct_option", "answer_idx", "answer_index", "output", "outputs", "completion", "response",
    "chosen", "solution", "solutions", "canonical_solution", "code", "final_answer", "reference",
    "references", "expected_output", "ideal", "label", "labels", "correct_choice", "target_scores",
    "mc1_targets", "mc2_targets",
)  # fmt: skip
_IDS = ("id", "task_id", "question_id", "qid", "idx", "index", "uid", "example_id", "key")
_LETTERED = re.compile(r"(?:option|sol|solution|choice|ending|answer|op)?[_ ]?([a-h1-9]|0)")
_CHAT = ("messages", "conversations", "chosen", "history", "system")
_TEXTS = ("text", "texts", "value", "spans", "content")

Leaf: TypeAlias = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """One record of a benchmark.

    Attributes:
        id: its own, or where it has none the number of its line.
        source: the benchmark's path.
        line: counted from 1.
        prompt: what is asked, without the system prompt; of a text all of it.
        answer: the answer as text; empty where there is none.
        more: name and text of what else is searched for: choices, context, other columns.
        answered: whether an answer was found, or the record is one that needs none.
    """

    id: str
    source: str
    line: int
    prompt: str
    answer: str = ""
    more: tuple[tuple[str, str], ...] = ()
    answered: bool = True

    def part_text(self, part: str) -> str:
        """The text of a part: `prompt`, `answer`, `record` (both), or the name of another."""
        if part == "question":
            return self.prompt
        known = {"prompt": self.prompt, "answer": self.answer, **dict(self.more)}
        return known.get(part) or "\n".join(filter(None, (self.prompt, self.answer)))

    @classmethod
    def of(cls, record: Record) -> "Item":
        """What a record of one of the formats of training asks and answers."""
        prompt, answer = prompt_and_answer(record)
        return cls(record.id, record.source, record.line, prompt, answer)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One file: its records, how many lines are none, and how many records have no answer."""

    path: str
    records: Sequence[Item]
    unreadable: int = 0

    @property
    def unanswered(self) -> int:
        """Records of which only the question is searched for."""
        return sum(not item.answered for item in self.records)


def read_benchmarks(specs: Sequence[str], settings: Curate) -> list[Benchmark]:
    """Records of all benchmarks; an answer is not needed, the question alone can leak.

    What is masked in training records is masked here, so that both still compare.

    Raises:
        BadInput: a benchmark is missing or empty, or none of its lines is a record.
    """
    benchmarks = []
    for path in sorted(records.expand(specs), key=str):
        good: list[Item] = []
        bad: list[BadLine] = []
        for line, value in records.values(path, max_line_bytes=settings.max_line_bytes):
            item = value if isinstance(value, BadLine) else read_item(value, str(path), line)
            if isinstance(item, BadLine):
                bad.append(item)
            else:
                good.append(_masked(item, settings.privacy))
        if not good:
            raise BadInput(no_record(bad[0], len(bad)))
        benchmark = Benchmark(str(path), _without_common(good), len(bad))
        _warn(benchmark)
        benchmarks.append(benchmark)
    return benchmarks


def read_item(value: Any, source: str, line: int) -> Item | BadLine:
    """One decoded line of a benchmark, in any of the formats above."""
    record = records.parse(value, source, line, labelled=False)
    if not isinstance(value, Mapping):
        assert isinstance(record, BadLine)
        return record
    leaves = dict(_leaves(value))
    if isinstance(record, BadLine) and "messages" in value:
        # A column beside the chat may be the benchmark's own.
        record = records.parse({"messages": value["messages"]}, source, line, labelled=False)
    chat = isinstance(record, Record) and not leaves.keys().isdisjoint(_CHAT)
    item = None if chat else _public(leaves, source, line)
    if item is not None:
        named = isinstance(record, Record) and not any(key in leaves for key in _IDS)
        return replace(item, id=record.id) if isinstance(record, Record) and named else item
    if isinstance(record, Record):
        return _with_columns(Item.of(record), leaves)
    return _unknown(leaves, source, line) or record


def _with_columns(item: Item, leaves: Mapping[str, Any]) -> Item:
    """A record of a format of training, with what other columns of it say."""
    choices = _choices(leaves)
    answer = item.answer or _answer(leaves, choices) or ""
    more = [*_offered(item.prompt, choices), *_others(leaves, (item.prompt, item.answer, answer))]
    return replace(item, answer=answer, more=tuple(more), answered=bool(answer))


def _public(leaves: Mapping[str, Any], source: str, line: int) -> Item | None:
    """A record that names its question; None where nothing is asked."""
    prompt = _question(leaves)
    if not prompt:
        return None
    choices = _choices(leaves)
    answer = _answer(leaves, choices) or ""
    more = [*_offered(prompt, choices), *_others(leaves, (prompt, answer))]
    is_text = not (choices or leaves.keys() & (set(_QUESTION) - {"text"}))
    answered = bool(answer) or is_text
    return Item(_identity(leaves, line), source, line, prompt, answer, tuple(more), answered)


def _unknown(leaves: Mapping[str, Any], source: str, line: int) -> Item | None:
    """A record without a known column: every text that is long enough is searched for."""
    more = tuple(_others(leaves, ()))
    if not more:
        return None
    return Item(_identity(leaves, line), source, line, "", "", more, answered=False)


def _identity(leaves: Mapping[str, Any], line: int) -> str:
    return next((str(leaves[key]) for key in _IDS if _is_name(leaves.get(key))), str(line))


def _leaves(value: Mapping[str, Any]) -> Iterator[Leaf]:
    """Columns by their names in lower case; those of nested objects come by their own names."""
    nested: list[Leaf] = []
    outer = set()
    for name, inside in value.items():
        key = re.sub(r"[\s-]+", "_", str(name).strip().lower())
        outer.add(key)
        known = key in (*_CHOICES, *_ANSWER) or bool(_texts(inside))
        if isinstance(inside, Mapping) and not known:
            nested += _leaves(inside)
        elif inside is not None:
            yield key, inside
    yield from (leaf for leaf in nested if leaf[0] not in outer)


def _texts(value: Any) -> list[str]:
    """The texts of a list, of objects with a text each, or of {"text": [...]}; no chat's."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        if "role" in value or "stem" in value:
            return []
        if value and all(len(str(key)) == 1 for key in value):
            return [str(text) for text in value.values()]
        texts = next((value[key] for key in (*_TEXTS, "choices") if key in value), None)
        return _texts(texts) if isinstance(texts, str | list) else []
    if isinstance(value, Sequence):
        return [text for inside in value for text in _texts(inside)[:1]]
    return []


def _question(leaves: Mapping[str, Any]) -> str:
    for key in _QUESTION:
        question = "\n".join(_texts(leaves.get(key)))
        if question.strip():
            beside = {"premise": ("hypothesis", "question"), "instruction": ("input",)}
            more = next((leaves[name] for name in beside.get(key, ()) if name in leaves), None)
            return f"{question}\n\n{more}" if isinstance(more, str) and more else question
    pair = [leaves.get(name) for name in ("sentence1", "sentence2")]
    return "\n".join(text for text in pair if isinstance(text, str))


def _choices(leaves: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and text of each choice, in order."""
    for key in _CHOICES:
        value = leaves.get(key)
        texts = _texts(value)
        if key == "target_scores" and isinstance(value, Mapping):
            texts = [str(text) for text in value]
        if len(texts) > 1:
            return list(zip(_labels(value, len(texts)), texts, strict=True))
    found = [
        (match[1], text)
        for key, text in leaves.items()
        if isinstance(text, str) and (match := _LETTERED.fullmatch(key))
    ]
    return found if len(found) > 1 else []


def _labels(value: Any, count: int) -> list[str]:
    if isinstance(value, Mapping):
        named = value.get("label")
        if isinstance(named, list) and len(named) == count:
            return [str(label).lower() for label in named]
        if len(value) == count:
            return [str(key).lower() for key in value]
    if isinstance(value, Sequence) and all(isinstance(choice, Mapping) for choice in value):
        named = [choice.get("label", choice.get("key")) for choice in value]
        if len(named) == count and all(label is not None for label in named):
            return [str(label).lower() for label in named]
    return [chr(ord("a") + i) if i < 26 else str(i) for i in range(count)]


def _answer(leaves: Mapping[str, Any], choices: Sequence[tuple[str, str]]) -> str | None:
    """The answer as text; None where there is none, or it names a choice that is not there."""
    for key in _ANSWER:
        value = leaves.get(key)
        if value is None or (key in _CHOICES and not isinstance(value, Mapping)):
            continue
        answer = _scored(value, choices) or _resolved(value, choices)
        if answer:
            return answer
    return None


def _scored(value: Any, choices: Sequence[tuple[str, str]]) -> str | None:
    """The choice with the best score: of {"choices": [...], "labels": [0, 1]} or {text: score}."""
    if not isinstance(value, Mapping):
        return None
    scores = value.get("labels", list(value.values()))
    numbers = isinstance(scores, list) and all(isinstance(score, int | float) for score in scores)
    if not (numbers and scores and len(scores) == len(choices)):
        return None
    answer: str = choices[scores.index(max(scores))][1]
    return answer


def _resolved(value: Any, choices: Sequence[tuple[str, str]]) -> str | None:
    if isinstance(value, Mapping | list | tuple):
        texts = _texts(value)
        return "\n".join(texts) if texts else None
    if isinstance(value, bool):
        return str(value).lower()
    if not choices:
        return str(value) if isinstance(value, int | float) or str(value).strip() else None
    label = str(value).strip().strip("().: ").lower()
    by_label = dict(choices)
    if isinstance(value, str) and label in by_label:
        return by_label[label]
    if label.isdecimal():
        # Lists are counted from 0; from 1 where there is no other way.
        place = int(label) - (int(label) == len(choices))
        return choices[place][1] if place < len(choices) else None
    offered = {text.strip().lower() for _, text in choices}
    if isinstance(value, str) and (label in offered or len(words(value)) > 1):
        return value
    return None


def _offered(prompt: str, choices: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The question with its choices, as it is usually put."""
    if choices:
        lines = [f"{chr(ord('A') + i)}. {text}" for i, (_, text) in enumerate(choices[:26])]
        yield "choices", "\n".join([prompt, *lines])


def _others(leaves: Mapping[str, Any], known: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Other columns with enough words, by their names."""
    for key, value in leaves.items():
        if key in ("meta", "tools", *_CHAT, *_IDS, *_CHOICES):
            continue
        text = "\n".join(_texts(value))
        if any(text in other for other in known):
            continue
        if len(words(text)) >= SHORTEST_COLUMN:
            name = "context" if key in _CONTEXT else f"column {key}"
            yield name, text


def _without_common(items: Sequence[Item]) -> list[Item]:
    """Columns that say the same in a tenth of the records (two at least) say nothing of one."""
    counts = Counter(text for item in items for name, text in item.more if name != "context")
    most = max(1, len(items) // 10)
    return [
        replace(item, more=tuple(pair for pair in item.more if counts[pair[1]] <= most))
        for item in items
    ]


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and str(value) != ""


def _masked(item: Item, settings: Privacy) -> Item:
    kinds = [kind for kind in KINDS if getattr(settings, kind) == "mask"]
    return replace(
        item,
        prompt=mask(item.prompt, kinds)[0],
        answer=mask(item.answer, kinds)[0],
        more=tuple((name, mask(text, kinds)[0]) for name, text in item.more),
    )


def _warn(benchmark: Benchmark) -> None:
    log = logging.getLogger(__name__)
    shown = visible(benchmark.path)
    if benchmark.unreadable:
        log.warning("%s: %d lines are no records and are left out", shown, benchmark.unreadable)
    if benchmark.unanswered:
        log.warning(
            "%s: no answer was found in %d of %d records; only their questions are searched for: "
            "name the answers' column `answer`",
            shown,
            benchmark.unanswered,
            len(benchmark.records),
        )
