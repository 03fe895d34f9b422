"""Corpora with planted truth: what is a duplicate, what leaks a benchmark, and what only looks so.

    python -m benchmarks.curation.planted DIR --records 50000 --kind prose --seed 1

writes into DIR

    corpus.jsonl            the records, one a line, in no order that tells anything
    benchmarks/*.jsonl      passages ({"text"}) and questions ({"prompt", "completion"})
    truth.jsonl             one line for each planted record (see below)
    plan.json               seed, sizes, counts: what was asked for, and what came of it

A line of the truth: `id` and `line` of the record (`id` is null for a line that is no record),
`plant` and `form`, and where they apply `of` (the record or the benchmark item it was made from),
`jaccard` (exact, word 5-grams of runs of `\\w` in lower case, with `of`), `cluster` (records that
belong together) and `words` (of the benchmark passage it was made from).

    exact        the same text, or another case, white space or Unicode form of it
    near         one edited copy of a record that has no other; Jaccard from 0.3 to 1
    cluster      copies of one record or of one another, 3 to 20 in all; Jaccard of each with the
                 one that it was made from at least `LINKED`
    leak         a benchmark item: as it is, disguised, embedded, in part, with words exchanged
    quote        own text that quotes 3 to 6 consecutive words of a benchmark item: stays
    boilerplate  own text with a paragraph that 15 or more records and several benchmark items
                 share: stays
    topic        own text in the words of a benchmark item: stays
    template     own question in the words in which benchmark questions are put: stays
    bad          a line that is no record; `form` is the reason it should be dropped for

All other records are unplanted: sentences (or blocks of code) of installed packages, drawn at
random, with some of their words exchanged, so that no two of them are alike.

Everything about the record at a position follows from the seed and the position alone: a copy makes
its original again. So nothing is held but the sources and the list of plants, whatever the size.
"""

import argparse
import hashlib
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from benchmarks.curation import variants
from benchmarks.curation.sources import Kind, Pieces, collect, exchangeable

LINKED = 0.78
"""Least Jaccard similarity of a cluster's copy with the text that it was made from."""

Fields: TypeAlias = tuple[str, ...]
Truth: TypeAlias = dict[str, Any]
Job: TypeAlias = Callable[[int], tuple[Fields | bytes, Truth]]

EXACT = {
    "verbatim": lambda text, _: text,
    "case": variants.case,
    "spaces": variants.spaces,
    "compatible": variants.compatible,
    "zero_width": variants.zero_width,
    "soft_hyphen": variants.soft_hyphen,
}
DISGUISES: dict[str, Callable[[str, random.Random], str]] = {
    "verbatim": lambda text, _: text,
    "case": variants.case,
    "punctuation": variants.punctuation,
    "compatible": variants.compatible,
    "decomposed": variants.decomposed,
    "zero_width": variants.zero_width,
    "soft_hyphen": variants.soft_hyphen,
    "homoglyph": variants.homoglyph,
    "embedded": lambda text, _: text,
}
LEAKS = [
    *DISGUISES, "partial", "substituted", "partial_short", "substituted_short", "prompt"
]  # fmt: skip
BAD = ("invalid_json", "not_utf8", "wrong_type", "missing_field")
# How much of each Jaccard band the near-duplicates of one original get.
BANDS = [(0.3, 0.6, 4), (0.6, 0.7, 3), (0.7, 0.8, 7), (0.8, 0.9, 4), (0.9, 1.0, 3)]

_EXCHANGED = (0.15, 0.3)  # of an unplanted text's plain words; the second where it is short
_SHORT = 500  # characters
_HARD = (0.003, 36)  # of each kind that has to stay: share of the records, and at least
_SHARING = 15  # records at least that share a paragraph of boilerplate
_LONG = 30  # words from which a benchmark text is long, for `partial` and `substituted`
_OPENERS = [
    "Explain in your own words: ", "What does this mean? ", "Summarise: ", "Is it true? ",
    "Give an example. ", "Comment on the following. ", "Why? ", "", "", "", "Rewrite this: ",
]  # fmt: skip
_TEMPLATE = (
    "You are given one sentence from the documentation of a software library. Read it with care "
    "and say in a few words what a beginner should learn from it. The sentence: "
)
_STOCK_ANSWERS = ["Yes, always.", "No, never.", "It depends.", "That is correct.", "I do not know."]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a corpus is made from."""

    seed: int
    records: int
    kind: Kind
    size: int


@dataclass(frozen=True, slots=True)
class Planted:
    """The files of a corpus."""

    corpus: Path
    benchmarks: list[Path]
    truth: Path
    plan: Path


@dataclass(frozen=True, slots=True)
class Item:
    """One record of a benchmark; `answer` is empty for a passage."""

    id: str
    text: str
    answer: str = ""
    accented: bool = False

    @property
    def words(self) -> int:
        """Words of its passage, or of its question."""
        return variants.count_words(self.text)


def plant(
    folder: Path, *, records: int = 2000, kind: Kind = "prose", seed: int = 0, size: int = 900
) -> Planted:
    """Write a corpus with its benchmarks, its truth and its plan into `folder`.

    Equal arguments on equal installed packages give equal bytes.

    Args:
        folder: where to; made where it does not exist.
        records: lines of the corpus, bad ones included; at least 1500.
        kind: `prose` and `code` have `text`, `pairs` have `prompt` and `completion`.
        seed: other seeds give other texts, places and ids.
        size: mean characters of an unplanted record; 220 gives short ones of 130 to 310.
    """
    if kind == "code" and size < 600:
        raise ValueError("code comes in blocks: in records of under 600 characters they repeat")
    plan = Plan(seed, records, kind, size)
    generator = Generator(plan)
    planted = Planted(
        folder / "corpus.jsonl",
        [folder / "benchmarks" / f"{name}.jsonl" for name in ("passages", "questions")],
        folder / "truth.jsonl",
        folder / "plan.json",
    )
    planted.benchmarks[0].parent.mkdir(parents=True, exist_ok=True)
    for path, rows in zip(planted.benchmarks, generator.benchmarks(), strict=True):
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    counts: Counter[str] = Counter()
    with planted.corpus.open("wb") as corpus, planted.truth.open("wb") as truth:
        for line, row in generator.lines():
            corpus.write(line)
            if row is not None:
                truth.write(orjson.dumps(row) + b"\n")
                counts[f"{row['plant']}:{row['form']}"] += 1
    summary = asdict(plan) | {
        "bytes": planted.corpus.stat().st_size,
        "benchmark_items": len(generator.items) + len(generator.shared),
        "source_units": len(generator.units),
        "planted": dict(sorted(counts.items())),
    }
    planted.plan.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return planted


def read_texts(path: Path) -> Iterator[tuple[str, str]]:
    """Id and text (question and answer in one) of each record; bad lines are passed over."""
    with path.open("rb") as file:
        for line in file:
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(row, dict):
                parts = (row.get(name) for name in ("text", "prompt", "completion"))
                said = [part for part in parts if isinstance(part, str)]
                if said:
                    yield row["id"], "\n".join(said)


class Generator:
    """The records of one plan, each a function of its position."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        rng = self._rng("plan")
        wanted = min(max(plan.records * plan.size // 400, 4000), 150_000)
        count = min(max(plan.records // 100, 200), 2000)
        mean = plan.size / (250 if plan.kind == "code" else 110)
        held_out = int(count * max(mean, 3) * 1.1) + 400
        sources = collect(plan.kind, wanted, held_out, plan.seed)
        self._sources = sources
        self._exchanged = _EXCHANGED[plan.size < _SHORT]
        self.units = [(pieces, _slots(pieces)) for pieces in sources.units]
        self._make_benchmarks(count, rng)
        self._jobs = self._assign(rng)

    # What is unplanted

    def base(self, position: int) -> Fields:
        """The texts of the record at `position`, were it unplanted."""
        rng = self._rng("base", position)
        size = self._plan.size * rng.uniform(0.6, 1.4)
        if self._plan.kind != "pairs":
            return (self.prose(size, rng),)
        opener = rng.choice(_OPENERS)
        prompt = opener + self.prose(0.25 * size, rng)
        return prompt, self.prose(size - len(prompt), rng)

    def prose(self, size: float, rng: random.Random) -> str:
        """Sentences (or blocks of code), at least one, of about `size` characters."""
        units, tokens, draw = self.units, self._sources.tokens, rng.random
        exchanged = self._exchanged
        between = "\n\n" if self._plan.kind == "code" else None
        parts: list[str] = []
        length = 0
        while not parts or length < size:
            pieces, slots = units[int(draw() * len(units))]
            pieces = pieces.copy()
            for at in slots:
                if draw() < exchanged:
                    pieces[at] = tokens[int(draw() * len(tokens))]
            text = "".join(pieces)
            if parts and length + len(text) / 2 > size:
                break
            parts += [text, between or (" " if draw() < 0.8 else "\n\n")]
            length += len(text) + 1
        return "".join(parts[:-1])

    def identity(self, position: int) -> str:
        """An id that is unique, in no order, and now and then unpleasant."""
        digest = hashlib.blake2b(f"{self._plan.seed}/{position}".encode(), digest_size=4)
        start = digest.hexdigest()
        odd = {"0": "é{}/{}", "1": '"{}"\t{}', "2": "<{}> {}", "3": "{},{}", "4": "数{}:{}"}
        form = odd.get(start[1], "{}-{}") if start[0] == "0" else "{}-{}"
        return form.format(start, position)

    # The file

    def benchmarks(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """The rows of both benchmark files: passages and questions."""
        passages = [item for item in (*self.items, *self.shared) if not item.answer]
        questions = [item for item in (*self.items, *self.shared) if item.answer]
        return (
            [{"id": item.id, "text": item.text} for item in passages],
            [{"id": i.id, "prompt": i.text, "completion": i.answer} for i in questions],
        )

    def lines(self) -> Iterator[tuple[bytes, Truth | None]]:
        """Each line of the corpus, with its truth where it is planted."""
        names = ("prompt", "completion") if self._plan.kind == "pairs" else ("text",)
        for position in range(self._plan.records):
            job = self._jobs.get(position)
            made, truth = (self.base(position), None) if job is None else job(position)
            identity = None
            if isinstance(made, tuple):
                identity = self.identity(position)
                made = orjson.dumps({"id": identity, **dict(zip(names, made, strict=True))})
            if truth is not None:
                truth = {"id": identity, "line": position + 1, **truth}
            yield made + b"\n", truth

    # What is planted

    def _assign(self, rng: random.Random) -> dict[int, Job]:
        """Give positions to plants, and to each plant what it is made from."""
        total, count = self._plan.records, self._count
        clusters = self._cluster_sizes(count(0.008, 70), rng)
        hard = self._count(*_HARD)
        needed = {
            "exact": count(0.015, 48),
            "near": count(0.021, 210),
            "cluster": sum(size - 1 for size in clusters),
            "leak": count(0.0012, 20) * len(LEAKS),
            "quote": hard,
            "boilerplate": hard,
            "topic": hard,
            "template": hard,
            "bad": count(0.001, 12),
        }
        originals = needed["exact"] + needed["near"] + len(clusters)
        if sum(needed.values()) + originals > 0.8 * total:
            raise ValueError(f"{total} records are too few for all plants: take 1500 or more")
        drawn = iter(rng.sample(range(total), sum(needed.values()) + originals))
        jobs: dict[int, Job] = {}
        makers = (
            (self._exact, list(EXACT)), (self._leak, LEAKS), (self._quote, [""]),
            (self._boilerplate, [""]), (self._topic, [""]), (self._template, [""]),
            (self._bad, list(BAD)),
        )  # fmt: skip
        for make, forms in makers:
            name = make.__name__.removeprefix("_")
            for number in range(needed[name]):
                of = next(drawn) if name == "exact" else number
                jobs[next(drawn)] = _bound(make, forms[number % len(forms)], of)
        spread = [band for *band, weight in BANDS for _ in range(weight)]
        for number in range(needed["near"]):
            target = rng.uniform(*spread[number % len(spread)])
            style = "punctuation" if number % 50 == 49 else rng.choice(variants.EDITS)
            jobs[next(drawn)] = _bound(self._near, style, (next(drawn), target))
        for number, size in enumerate(clusters):
            chain = number % 2 == 1
            members = [next(drawn) for _ in range(size)]
            for at in range(1, size):
                line = members[: at + 1] if chain else [members[0], members[at]]
                job = _bound(self._cluster, "chain" if chain else "star", (number, line))
                jobs[members[at]] = job
        return jobs

    def _cluster_sizes(self, copies: int, rng: random.Random) -> list[int]:
        sizes: list[int] = []
        while sum(sizes) < copies:
            sizes.append(3 + int(18 * rng.random() ** 2))
        return sizes

    def _exact(self, position: int, form: str, of: int) -> tuple[Fields, Truth]:
        rng = self._rng("exact", position)
        fields = tuple(EXACT[form](field, rng) for field in self.base(of))
        truth = {"plant": "exact", "form": form, "of": self.identity(of), "jaccard": 1.0}
        return fields, truth

    def _near(
        self, position: int, style: variants.Edit, how: tuple[int, float]
    ) -> tuple[Fields, Truth]:
        of, target = how
        original = self.base(of)
        rng = self._rng("near", position)
        copy = variants.edited(original, target, style, self._sources.vocabulary, rng)
        return copy, self._related("near", style, of, original, copy)

    def _cluster(
        self, _position: int, form: str, how: tuple[int, list[int]]
    ) -> tuple[Fields, Truth]:
        number, line = how
        fields = self.base(line[0])
        for place in line[1:]:
            parent, fields = fields, self._linked(fields, place)
        truth = self._related("cluster", form, line[-2], parent, fields)
        return fields, truth | {"cluster": number}

    def _linked(self, parent: Fields, place: int) -> Fields:
        rng = self._rng("linked", place)
        target = rng.uniform(LINKED + 0.05, 0.97)
        for _ in range(20):
            copy = variants.edited(parent, target, "words", self._sources.vocabulary, rng)
            if variants.jaccard("\n".join(parent), "\n".join(copy)) >= LINKED:
                return copy
            target = (target + 1) / 2
        # So short a text bears no edit inside; one more word costs least.
        return (*parent[:-1], f"{parent[-1]} {rng.choice(self._sources.vocabulary)}")

    def _related(self, plant: str, form: str, of: int, original: Fields, copy: Fields) -> Truth:
        similarity = variants.jaccard("\n".join(original), "\n".join(copy))
        return {"plant": plant, "form": form, "of": self.identity(of), "jaccard": similarity}

    def _leak(self, position: int, form: str, number: int) -> tuple[Fields, Truth]:
        rng = self._rng("leak", position)
        item = rng.choice(self._targets[form])
        truth = {"plant": "leak", "form": form, "of": item.id, "words": item.words}
        if form in DISGUISES:
            text, answer = (
                part and DISGUISES[form](part, rng) for part in (item.text, item.answer)
            )
        elif form == "prompt":
            text, answer = item.text, self.prose(0.5 * self._plan.size, rng)
        else:
            answer = ""
            if form.startswith("partial"):
                # From half of the words to 70% of them, never less than half.
                words = math.ceil(item.words * rng.uniform(0.5, 0.7))
                text = variants.excerpt(item.text, words, rng)
            else:
                text = variants.substituted(item.text, 0.1, self._sources.vocabulary, rng)
        embed = form in ("embedded", "partial", "partial_short") or (
            form != "prompt" and number // len(LEAKS) % 2 == 1
        )
        return self._told(text, answer, embed, rng), truth | {"embedded": embed}

    def _told(self, text: str, answer: str, embed: bool, rng: random.Random) -> Fields:
        """A training record that says `text` (and `answer`), on its own or among other text."""
        if embed:
            size = len(text) * rng.uniform(0.5, 2)
            before = rng.uniform(0.1, 0.9)
            parts = (self.prose(before * size, rng), text, self.prose((1 - before) * size, rng))
            text = rng.choice([" ", "\n", "\n\n"]).join(parts)
        if self._plan.kind != "pairs":
            return (f"{text}\n\n{answer}" if answer else text,)
        if answer:
            return text, answer
        own = self.prose(0.4 * self._plan.size, rng)
        return (rng.choice(_OPENERS) + text, own) if rng.random() < 0.5 else (own, text)

    def _quote(self, position: int, _form: str, _number: int) -> tuple[Fields, Truth]:
        rng = self._rng("quote", position)
        item = rng.choice(self.items)
        count = rng.randint(3, 6)
        quoted = variants.excerpt(item.text, count, rng)
        *rest, last = self.base(position)
        gaps = [at for at, sign in enumerate(last) if sign == " "]
        at = rng.choice(gaps)
        last = f'{last[:at]} "{quoted}" {last[at + 1 :]}'
        return (*rest, last), {"plant": "quote", "form": f"{count} words", "of": item.id}

    def _boilerplate(self, position: int, _form: str, number: int) -> tuple[Fields, Truth]:
        rng = self._rng("boilerplate", position)
        *rest, last = self.base(position)
        number %= len(self.paragraphs)
        paragraph = self.paragraphs[number]
        last = rng.choice([f"{paragraph}\n\n{last}", f"{last}\n\n{paragraph}"])
        return (*rest, last), {"plant": "boilerplate", "form": f"paragraph {number}"}

    def _topic(self, position: int, _form: str, _number: int) -> tuple[Fields, Truth]:
        rng = self._rng("topic", position)
        item = rng.choice(self.items)
        own = sorted({word for word in variants.plain_words(item.text) if len(word) > 4})

        def told(field: str) -> str:
            return variants.reworded(field, 0.4, own, rng) if own else field

        fields = tuple(told(field) for field in self.base(position))
        return fields, {"plant": "topic", "form": "", "of": item.id}

    def _template(self, position: int, _form: str, _number: int) -> tuple[Fields, Truth]:
        rng = self._rng("template", position)
        asked = _TEMPLATE + self.prose(1, rng)
        answer = self.prose(self._plan.size * 0.5, rng)
        fields = (asked, answer) if self._plan.kind == "pairs" else (f"{asked}\n\n{answer}",)
        return fields, {"plant": "template", "form": ""}

    def _bad(self, position: int, form: str, _number: int) -> tuple[bytes, Truth]:
        rng = self._rng("bad", position)
        text = "\n".join(self.base(position))
        whole = orjson.dumps({"id": self.identity(position), "text": text})
        cut = rng.randrange(20, len(text))
        made = {
            "invalid_json": orjson.dumps(text[:cut])[:-1],
            "not_utf8": whole[:-2] + b' \xff\xfe"}',
            "wrong_type": rng.choice([b'["text"]', b'{"id": "a", "text": 5}', b"17"]),
            "missing_field": orjson.dumps({"id": self.identity(position), "body": text}),
        }
        return made[form], {"plant": "bad", "form": form}

    # The benchmarks

    def _make_benchmarks(self, count: int, rng: random.Random) -> None:
        """Items that may be leaked (`items`), and those that share words by design (`shared`)."""
        held_out = [*self._sources.held_out]
        rng.shuffle(held_out)
        code = self._plan.kind == "code"
        longest = min(int(self._plan.size / (8 if code else 6.5)), 140)
        shortest = max(longest // 4, 14)

        def text(words: float) -> str:
            parts: list[str] = []
            had = 0
            while held_out and had < words:
                pieces = held_out.pop()
                parts.append("".join(pieces))
                had += len(pieces) // 2
            return ("\n\n" if code else " ").join(parts)

        paragraphs = min(self._count(*_HARD) // _SHARING, 20)
        self.paragraphs = [text(max(longest * 0.35, 9)) for _ in range(paragraphs)]
        self.items: list[Item] = []
        self.shared: list[Item] = []
        for number in range(count):
            name = f"item-{number:04d}"
            if number % 10 == 0:
                paragraph = self.paragraphs[number // 10 % paragraphs]
                own = text(rng.uniform(0.5, 2) * variants.count_words(paragraph))
                both = [paragraph, own] if rng.random() < 0.5 else [own, paragraph]
                self.shared.append(Item(name, "\n\n".join(both)))
            elif number % 10 == 1:
                self.shared.append(Item(name, _TEMPLATE + text(1), text(1)))
            else:
                item = self._item(name, number % 2 == 0, text, (shortest, longest), rng)
                self.items.append(item)
        for item in (*self.items, *self.shared):
            if not item.text:
                raise ValueError("the installed packages hold too little text for the benchmarks")
        long = [item for item in self.items if item.words >= _LONG]
        short = [item for item in self.items if 12 <= item.words < _LONG]
        asked = [item for item in self.items if item.answer and item.words >= 12]
        whole = [item for item in self.items if item.words >= 8]
        self._targets = dict.fromkeys(LEAKS, whole) | {
            "decomposed": [item for item in whole if item.accented],
            "partial": long or short,
            "substituted": long or short,
            "partial_short": short or long,
            "substituted_short": short or long,
            "prompt": asked or whole,
        }

    def _item(
        self,
        name: str,
        passage: bool,
        text: Callable[[float], str],
        bounds: tuple[int, int],
        rng: random.Random,
    ) -> Item:
        accented = rng.random() < 0.2
        words = rng.uniform(*bounds)
        if passage:
            asked, answer = text(words), ""
        else:
            # Half of the questions are one sentence, the others as long as passages.
            asked = rng.choice(_OPENERS) + text(1 if rng.random() < 0.5 else 0.7 * words)
            answer = rng.choice(_STOCK_ANSWERS) if rng.random() < 0.2 else text(0.5 * words)
        if accented:
            asked = variants.accented(asked, rng)
        return Item(name, asked, answer, accented)

    def _count(self, share: float, least: int) -> int:
        return max(int(self._plan.records * share), least)

    def _rng(self, purpose: str, position: int = 0) -> random.Random:
        return random.Random(f"{self._plan.seed}/{purpose}/{position}")


def _bound(make: Callable[..., Any], form: str, of: Any) -> Job:
    return lambda position: make(position, form, of)


def _slots(pieces: Pieces) -> list[int]:
    return [at for at in range(1, len(pieces), 2) if exchangeable(pieces[at])]


def main() -> None:
    """Plant a corpus from the command line."""
    parser = argparse.ArgumentParser(description="Write a corpus with planted truth.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--kind", choices=["prose", "code", "pairs"], default="prose")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=900, help="mean characters of a record")
    given = parser.parse_args()
    began = time.perf_counter()
    planted = plant(
        given.folder, records=given.records, kind=given.kind, seed=given.seed, size=given.size
    )
    seconds = time.perf_counter() - began
    print(planted.plan.read_text(encoding="utf-8"), end="")
    print(f"{given.records / seconds:,.0f} records/s, {seconds:.1f} s with reading the sources")


if __name__ == "__main__":
    main()
