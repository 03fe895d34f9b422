"""Decontamination on planted truth: what is found of each kind of leak, what is dropped wrongly.

    python -m benchmarks.curation.contamination --seed 3
    python -m benchmarks.curation.contamination --pages DIR    # a checkout of tldr-pages

Prints each bar with ours beside it; exits with 1 where one is missed. Questions and passages are
sentences of installed packages (`sources`); no sentence of a clean record is in a benchmark.

    shared instruction   benchmarks of 1 to 500 questions under one instruction of 5 to 60 words,
                         put before, after, around or as the system prompt; training asks the bare
                         question, or all of it; clean records ask others under that instruction
    places               the question in a system prompt, a tool call's arguments, reasoning, the
                         definition of a tool, an early turn
    disguises            accents, escapes, encodings, lost spaces, shuffled words; choices left out
    public forms         the columns that published benchmarks have, leaked one by one
    short prompts        one-line descriptions of commands (`--pages`): a drop is right where it
                         names the same command or asks exactly the same
"""

import argparse
import base64
import html.entities
import random
import re
import sys
import unicodedata
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.curation.sources import collect
from tasks import records
from tasks.curate.settings import Decontamination
from tasks.curate.steps.contamination.benchmarks import Benchmark, Item, read_item
from tasks.curate.steps.contamination.contamination import ContaminationIndex
from tasks.curate.text.turn_texts import TurnWords
from tasks.records import BadLine, Record

SIZES = (1, 2, 3, 4, 5, 8, 10, 11, 12, 20, 40, 100, 200, 500)
INSTRUCTION_WORDS = (5, 12, 25, 40, 60)
PUT = ("before", "after", "around", "system")
BATCH = 256


@dataclass(slots=True)
class Tally:
    """How many leaks of each kind were found, and how many clean records dropped."""

    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    clean: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, kinds: Sequence[str], dropped: set[int], clean: str) -> None:
        """Enter a run: `kinds` of each record, empty where it is clean."""
        for i, kind in enumerate(kinds):
            if kind:
                self.planted[kind] += 1
                self.found[kind] += i in dropped
            else:
                self.clean[clean] += 1
                self.wrong[clean] += i in dropped

    def rows(self, bars: dict[str, float], default: float) -> Iterator[tuple[str, str, str, bool]]:
        """Name, ours, bar, and whether it is reached."""
        for kind, count in self.planted.items():
            share, bar = self.found[kind] / count, bars.get(kind, default)
            yield f"{kind}: recall", f"{share:.3f} of {count}", f"{bar:.2f}", share >= bar
        for kind, count in self.clean.items():
            share = self.wrong[kind] / max(count, 1)
            yield (
                f"{kind}: clean records dropped",
                f"{self.wrong[kind]} of {count}",
                "0.005",
                share <= 0.005,
            )


def drops(train: Sequence[dict[str, Any]], benchmark: Sequence[dict[str, Any]]) -> dict[int, Any]:
    """Evidence of each training record that is dropped, by its number."""
    settings = Decontamination()
    kept = [_record(row, i) for i, row in enumerate(train, 1)]
    items = [read_item(row, "bench", i) for i, row in enumerate(benchmark, 1)]
    bad = next((item for item in items if isinstance(item, BadLine)), None)
    if bad is not None:
        raise ValueError(f"{bad.reason}: {bad.detail}: {bad.excerpt}")
    good = [item for item in items if isinstance(item, Item)]
    index = ContaminationIndex([Benchmark("bench", good)], settings)
    overlaps, counts = {}, index.count_words(TurnWords.of([]))
    for begin in range(0, len(kept), BATCH):
        batch = kept[begin : begin + BATCH]
        said = TurnWords.of(batch)
        counts = counts + index.count_words(said)
        for i, of_record in index.match(batch, said).items():
            overlaps[begin + i] = of_record
    found = index.decide(overlaps, counts)
    return {i: index.evidence(kept[i], of_record) for i, of_record in found.items()}


def _record(row: dict[str, Any], line: int) -> Record:
    record = records.parse(row, "train", line, labelled=False)
    if isinstance(record, BadLine):
        raise ValueError(f"{record.reason}: {record.detail}: {record.excerpt}")
    return record


class Texts:
    """Sentences: of benchmarks, and of what is clean."""

    def __init__(self, seed: int) -> None:
        sources = collect("prose", 9_000, 6_000, seed)
        self.rng = random.Random(f"{seed}/contamination")
        self._held_out = ["".join(pieces) for pieces in sources.held_out]
        self._clean = ["".join(pieces) for pieces in sources.units]
        self.rng.shuffle(self._held_out)
        self.words = sources.vocabulary

    def held_out(self, least: int = 8, most: int = 30) -> str:
        """A sentence that no other record of a benchmark has."""
        while True:
            if not self._held_out:
                raise ValueError("the installed packages hold too little text")
            sentence = self._held_out.pop()
            if least <= sentence.count(" ") + 1 <= most:
                return sentence

    def question(self, least: int = 8, most: int = 22) -> str:
        """The same as a question."""
        return self.held_out(least, most).rstrip(".!") + "?"

    def clean(self, sentences: int = 2) -> str:
        """Sentences that no benchmark has."""
        return " ".join(self.rng.choice(self._clean) for _ in range(sentences))

    def instruction(self, words: int) -> str:
        """An instruction of so many words, of sentences that are in no benchmark."""
        text = ""
        while text.count(" ") + 1 < words:
            text = f"{text} {self.rng.choice(self._clean)}".strip()
        return " ".join(text.split(" ")[:words]).rstrip(",;:.") + "."


def shared_instruction(texts: Texts) -> Iterator[tuple[str, str, str, bool]]:
    """Benchmarks of every size under one instruction."""
    tally, rng = Tally(), texts.rng
    # Not all of what is asked ends with a question mark.
    pool = [texts.question() if i % 2 else texts.held_out(8, 22) for i in range(700)]
    others = [texts.clean(1).rstrip(".!") + ".?"[i % 2] for i in range(300)]
    for size in SIZES:
        for length in INSTRUCTION_WORDS:
            for put in PUT:
                instruction = texts.instruction(length)
                questions = rng.sample(pool, size)
                benchmark = [_put(instruction, question, put) for question in questions]
                leaked = questions if size <= 40 else rng.sample(questions, 40)
                train, kinds = [], []
                for question in leaked:
                    train.append(_answered({"prompt": question}, texts))
                    kinds.append(f"shared instruction, {_band(size)}")
                    train.append(_answered(_put(instruction, question, put), texts))
                    kinds.append("shared instruction, whole prompt")
                for question in rng.sample(others, rng.choice([12, 40, 120])):
                    train.append(_answered(_put(instruction, question, put), texts))
                    kinds.append("")
                    train.append(_answered({"prompt": f"{texts.clean(1)} {question}"}, texts))
                    kinds.append("")
                tally.add(kinds, set(drops(train, benchmark)), "shared instruction")
    yield from tally.rows({}, 0.99)


def _band(size: int) -> str:
    bands = ((1, "1 record"), (3, "2–3 records"), (12, "4–12 records"), (40, "20–40 records"))
    return next((name for most, name in bands if size <= most), "100–500 records")


def _put(instruction: str, question: str, put: str) -> dict[str, Any]:
    if put == "system":
        return {
            "messages": [
                {"role": "system", "content": instruction},
                {"role": "user", "content": question},
            ]
        }
    half = instruction.rindex(" ", 0, len(instruction) // 2 + 1)
    said = {
        "before": f"{instruction}\n\n{question}",
        "after": f"{question}\n\n{instruction}",
        "around": f"{instruction[:half]}\n{question}\n{instruction[half:].strip()}",
    }
    return {"prompt": said[put]}


def _answered(row: dict[str, Any], texts: Texts) -> dict[str, Any]:
    if "messages" in row:
        answer = {"role": "assistant", "content": texts.clean(1)}
        return {"messages": [*row["messages"], answer]}
    return row | {"completion": texts.clean(1)}


def places(texts: Texts) -> Iterator[tuple[str, str, str, bool]]:
    """Leaks outside of what the last question and answer say."""
    tally = Tally()
    questions = [texts.question() for _ in range(500)]
    benchmark = [{"question": question, "answer": texts.held_out()} for question in questions] + [
        {"question": texts.question(), "answer": "yes"} for _ in range(100)
    ]
    makers = (_in_system, _in_call, _in_reasoning, _in_tool, _in_early_turn)
    train, kinds = [], []
    for i, question in enumerate(questions):
        name, make = list(zip(_PLACES, makers, strict=True))[i % len(makers)]
        train.append(make(question, texts))
        kinds.append(f"place: {name}")
    for _ in range(200):
        for make in makers:
            train.append(make(texts.clean(1), texts))
            kinds.append("")
    tally.add(kinds, set(drops(train, benchmark)), "places")
    yield from tally.rows({}, 0.99)


_PLACES = ("system prompt", "tool call", "reasoning", "tool definition", "early turn")


def _chat(texts: Texts, *turns: dict[str, Any], answer: dict[str, Any] | None = None) -> Any:
    asked = {"role": "user", "content": texts.clean(1)}
    last = answer or {"role": "assistant", "content": texts.clean(1)}
    return {"messages": [*turns, asked, last]}


def _in_system(question: str, texts: Texts) -> Any:
    shots = f"{texts.clean(1)}\nQ: {question}\nA: yes\n{texts.clean(1)}"
    return _chat(texts, {"role": "system", "content": shots})


def _in_call(question: str, texts: Texts) -> Any:
    call = {"type": "function", "function": {"name": "ask", "arguments": {"query": question}}}
    return _chat(texts, answer={"role": "assistant", "content": "", "tool_calls": [call]})


def _in_reasoning(question: str, texts: Texts) -> Any:
    thought = f"{texts.clean(1)} {question} {texts.clean(1)}"
    last = {"role": "assistant", "content": texts.clean(1), "reasoning_content": thought}
    return _chat(texts, answer=last)


def _in_tool(question: str, texts: Texts) -> Any:
    function = {"name": "f", "description": question, "parameters": {"type": "object"}}
    return _chat(texts) | {"tools": [{"type": "function", "function": function}]}


def _in_early_turn(question: str, texts: Texts) -> Any:
    turns = ({"role": "user", "content": question}, {"role": "assistant", "content": "Hm."})
    return _chat(texts, *turns)


def disguises(texts: Texts) -> Iterator[tuple[str, str, str, bool]]:
    """Copies of questions and passages in disguise."""
    tally = Tally()
    train, kinds, benchmark = [], [], []
    for i in range(80 * len(DISGUISES)):
        name, change = list(DISGUISES.items())[i % len(DISGUISES)]
        text = texts.question(10, 26) if i % 2 else f"{texts.held_out(10)} {texts.held_out(10)}"
        benchmark.append({"prompt": text, "completion": "yes"})
        copy = change(text, texts.rng)
        embed = i % 4 > 1
        asked = f"{texts.clean(1)}\n{copy}\n{texts.clean(1)}" if embed else copy
        train.append({"prompt": asked, "completion": texts.clean(1)})
        kinds.append(f"disguise: {name}")
    for i in range(160):
        question, options = texts.question(7, 18), [texts.held_out(8, 9) for _ in range(4)]
        options = [" ".join(option.split()[: texts.rng.randint(1, 6)]) for option in options]
        lines = [f"{_LABELS[i % 4].format('ABCD'[n])} {one}" for n, one in enumerate(options)]
        joined = ("\n" if i % 3 else " ").join(lines)
        benchmark.append({"prompt": f"{question}\n{joined}", "completion": "ABCD"[i % 4]})
        train.append({"prompt": question, "completion": options[i % 4]})
        kinds.append("choices left out")
    for _ in range(1500):
        train.append({"prompt": texts.clean(2), "completion": texts.clean(2)})
        kinds.append("")
    tally.add(kinds, set(drops(train, benchmark)), "disguises")
    bars = {"disguise: words shuffled": 0.5, "disguise: words shuffled, sentence by sentence": 0.5}
    yield from tally.rows(bars, 0.9)


_LABELS = ("{}.", "({})", "{})", "{}:")


def _accented(text: str, rng: random.Random, share: float = 0.5) -> str:
    marks = {"a": "á", "e": "é", "i": "ì", "o": "ö", "u": "ü", "n": "ñ", "c": "ç"}

    def word(match: re.Match[str]) -> str:
        if rng.random() > share:
            return match[0]
        return "".join(marks.get(sign, sign) for sign in match[0])

    return re.sub(r"\w+", word, text)


def _escaped(text: str, how: Callable[[str], str]) -> str:
    return "".join(sign if sign.isascii() else how(sign) for sign in text)


def _entity(sign: str) -> str:
    name = html.entities.codepoint2name.get(ord(sign))
    return f"&{name};" if name else f"&#{ord(sign)};"


def _shuffled(text: str, rng: random.Random) -> str:
    said = text.split()
    rng.shuffle(said)
    return " ".join(said)


def _shuffled_inside(text: str, rng: random.Random) -> str:
    return " ".join(_shuffled(one, rng) for one in re.split(r"(?<=[.!?])\s+", text))


def _wrapped(text: str) -> str:
    return base64.encodebytes(text.encode()).decode()


DISGUISES: dict[str, Callable[[str, random.Random], str]] = {
    "accents on half of the words": _accented,
    "accents, \\u00e9": lambda text, rng: _escaped(
        _accented(text, rng), lambda sign: f"\\u{ord(sign):04x}"
    ),
    "accents, &eacute;": lambda text, rng: _escaped(_accented(text, rng), _entity),
    "accents, %C3%A9": lambda text, rng: _escaped(_accented(text, rng), urllib.parse.quote),
    "accents, decomposed": lambda text, rng: unicodedata.normalize("NFD", _accented(text, rng)),
    "percent-escapes": lambda text, _: urllib.parse.quote(text),
    "percent-escapes, plus": lambda text, _: urllib.parse.quote_plus(text),
    "base64": lambda text, _: base64.b64encode(text.encode()).decode(),
    "base64, in lines": lambda text, _: _wrapped(text),
    "without spaces": lambda text, _: re.sub(r"\s+", "", text),
    "without spaces and signs": lambda text, _: re.sub(r"[\W_]+", "", text).lower(),
    "words shuffled": _shuffled,
    "words shuffled, sentence by sentence": _shuffled_inside,
}


def public_forms(texts: Texts) -> Iterator[tuple[str, str, str, bool]]:
    """Benchmarks in their published forms: a leak of each column that identifies a record."""
    for name, make in FORMS.items():
        tally, rng = Tally(), texts.rng
        train, kinds, benchmark = [], [], []
        for _ in range(20):
            row, leaks = make(texts, rng)
            benchmark.append(row)
            for column, text in leaks:
                train.append({"prompt": texts.clean(1), "completion": text})
                kinds.append(f"form: {name}, {column}")
        for _ in range(100):
            train.append({"prompt": texts.clean(1), "completion": texts.clean(2)})
            kinds.append("")
        tally.add(kinds, set(drops(train, benchmark)), f"form {name}")
        yield from tally.rows({}, 0.95)


Made = tuple[dict[str, Any], list[tuple[str, str]]]


def _asked(name: str, answer: str) -> Callable[[Texts, random.Random], Made]:
    def make(texts: Texts, _: random.Random) -> Made:
        asked, told = texts.question(), f"{texts.held_out(14)} {texts.held_out(14)}"
        return {name: asked, answer: told}, [(name, asked), (answer, told)]

    return make


def _choice(texts: Texts, rng: random.Random) -> Made:
    asked, options = texts.question(), [texts.held_out(8, 12) for _ in range(4)]
    row = {"question": asked, "choices": options, "answer": rng.randrange(4), "subject": "x"}
    return row, [("question", asked), ("choices", "\n".join(options))]


def _arc(texts: Texts, rng: random.Random) -> Made:
    row, leaks = _choice(texts, rng)
    choices = {"text": row["choices"], "label": ["A", "B", "C", "D"]}
    return {"question": row["question"], "choices": choices, "answerKey": "C"}, leaks


def _squad(texts: Texts, _: random.Random) -> Made:
    asked, context = texts.question(), f"{texts.held_out(14)} {texts.held_out(14)}"
    row = {"context": context, "question": asked, "answers": {"text": ["so"], "answer_start": [0]}}
    return row, [("context", context), ("question", asked)]


def _human_eval(texts: Texts, _: random.Random) -> Made:
    asked = f'def f(x):\n    """{texts.held_out(10)}"""\n'
    solution = f"    # {texts.held_out(14)}\n    return [y for y in x]  # {texts.held_out(14)}\n"
    test = f"def check(candidate):\n    assert candidate('{texts.held_out(12)}') == 4\n"
    row = {"task_id": "HumanEval/1", "prompt": asked, "canonical_solution": solution, "test": test}
    return row | {"entry_point": "f"}, [("prompt", asked), ("solution", solution), ("test", test)]


def _mbpp(texts: Texts, _: random.Random) -> Made:
    asked, code = texts.held_out(10), f"def f(x):\n  # {texts.held_out(14)} {texts.held_out(12)}\n"
    tests = [f"assert f('{texts.held_out(8)}') == 1", f"assert f('{texts.held_out(8)}') == 2"]
    row = {"text": asked, "code": code, "test_list": tests, "task_id": 3}
    return row, [("text", asked), ("code", code), ("test_list", "\n".join(tests))]


def _hellaswag(texts: Texts, _: random.Random) -> Made:
    asked, ends = texts.held_out(), [texts.held_out(8, 14) for _ in range(4)]
    row = {"ctx": asked, "endings": ends, "label": "2"}
    return row, [("ctx", asked), ("endings", "\n".join(ends))]


def _winogrande(texts: Texts, _: random.Random) -> Made:
    asked = texts.held_out(10)
    return {"sentence": asked, "option1": "Ann", "option2": "Bea", "answer": "2"}, [
        ("sentence", asked)
    ]


def _piqa(texts: Texts, _: random.Random) -> Made:
    goal, one, two = texts.question(), texts.held_out(10), texts.held_out(10)
    row = {"goal": goal, "sol1": one, "sol2": two, "label": 0}
    return row, [("goal", goal), ("solutions", f"{one}\n{two}")]


def _unknown(texts: Texts, _: random.Random) -> Made:
    one, two = texts.held_out(10), texts.held_out(10)
    return {"nummer": 4, "aufgabe": one, "lösungsweg": two}, [("one", one), ("other", two)]


FORMS: dict[str, Callable[[Texts, random.Random], Made]] = {
    "question/answer": _asked("question", "answer"),
    "problem/solution": _asked("problem", "solution"),
    "input/target": _asked("input", "target"),
    "instruction/output": _asked("instruction", "output"),
    "question/passage": _asked("question", "passage"),
    "choices with an index": _choice,
    "choices with labels": _arc,
    "SQuAD": _squad,
    "HumanEval": _human_eval,
    "MBPP": _mbpp,
    "HellaSwag": _hellaswag,
    "WinoGrande": _winogrande,
    "PIQA": _piqa,
    "unknown columns": _unknown,
}


def short_prompts(folder: Path, show: int) -> Iterator[tuple[str, str, str, bool]]:
    """Pages of commands: `common` and `linux` as training, `windows` and `osx` as benchmark."""
    train = _distinct(row for name in ("common", "linux") for row in _pages(folder / name))
    benchmark = _distinct(row for name in ("windows", "osx") for row in _pages(folder / name))
    found = drops(train, benchmark)
    same, exact, other = 0, 0, []
    for i, evidence in found.items():
        row, theirs = train[i], benchmark[evidence["benchmark_line"] - 1]
        if row["command"] == theirs["command"]:
            same += 1
        elif _plain(row["prompt"]) == _plain(theirs["prompt"]):
            exact += 1
        else:
            other.append((evidence, row, theirs))
    prompts = {_plain(row["prompt"]) for row in train}
    copies = [row for row in benchmark if _plain(row["prompt"]) in prompts]
    print(
        f"{len(train)} commands against {len(benchmark)}: {len(found)} drops, {same} of the same "
        f"command, {exact} with exactly the same prompt, {len(other)} others; {len(copies)} "
        "prompts of the benchmark are prompts of training word by word"
    )
    for evidence, row, theirs in other[:show]:
        print(f"  {evidence['overlap']:.2f} {evidence['bits']:.0f} bits, {evidence['rare_words']}")
        print(f"    {row['prompt']} => {row['completion']}")
        print(f"    {theirs['prompt']} => {theirs['completion']}")
    share = (same + exact) / max(len(found), 1)
    yield "short prompts: precision", f"{share:.3f} of {len(found)}", "0.90", share >= 0.9


def _pages(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        for said, command in re.findall(r"^- (.+?):?\n\n`(.+)`$", text, re.MULTILINE):
            prompt = re.sub(r"\[(\w)\]", r"\1", said)
            completion = re.sub(r"\{\{|\}\}", "", command)
            yield {"prompt": prompt, "completion": completion, "command": path.stem}


def _distinct(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each once, as after deduplication."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        seen.setdefault((_plain(row["prompt"]), _plain(row["completion"])), row)
    return list(seen.values())


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


PARTS = {
    "instruction": shared_instruction,
    "places": places,
    "disguises": disguises,
    "forms": public_forms,
}


def main() -> int:
    """Run all parts, or those that are named."""
    parser = argparse.ArgumentParser(description="Decontamination on planted truth.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", action="append", choices=[*PARTS], help="all without it")
    parser.add_argument("--pages", type=Path, help="folder `pages` of a checkout of tldr-pages")
    parser.add_argument("--show", type=int, default=0, help="drops of other commands to print")
    given = parser.parse_args()
    missed = 0
    parts = given.part or ([] if given.pages else [*PARTS])
    results = [row for name in parts for row in PARTS[name](Texts(given.seed))]
    if given.pages:
        results += short_prompts(given.pages, given.show)
    print("| | ours | bar | |\n| --- | --- | --- | --- |")
    for name, ours, bar, reached in results:
        missed += not reached
        print(f"| {name} | {ours} | {bar} | {'' if reached else 'MISSED'} |")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
