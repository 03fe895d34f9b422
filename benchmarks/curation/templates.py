"""Mixtures of templates: what of them `perpetune curate` drops, wrongly or rightly.

    python -m benchmarks.curation.templates --style instructions --seed 1
    python -m benchmarks.curation.templates --style documents --seed 1 --records 20000

Plants records that fill templates, beside edited copies of some of them and longer records that
hold a held-out one, runs the command as a user would, and prints shares beside their bars.

What is true is so by construction: no two clean records have the same slot and the same answer,
since each slot is cut from a sentence (or block of code) of installed packages that no other
record uses, or made of words drawn anew. Only edited copies are duplicates.

    instructions  one instruction a template, an input below it (or within), a label or free text
                  as the answer; words and code of installed packages
    documents     made-up words, and another build: chats with the same opening turns, texts between
                  a header and a footer, code files under one licence and one list of imports

Each style is planted in several mixtures (`MIXTURES`). While the product was made, `instructions`
was looked at with the seeds 1 to 3; `documents` was not.
"""

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from benchmarks.curation import variants
from benchmarks.curation.command import curate_command
from benchmarks.curation.sources import collect
from tasks.curate.settings import Splits
from tasks.curate.steps.splits.splits import split_position

Row: TypeAlias = dict[str, Any]
BARS = {"dropped wrongly": "<= 0.005", "near": ">= 0.95", "precision": ">= 0.99", "leaks": "-"}
MIXTURES = [(5, 300), (12, 300), (40, 1000), (25, 4000), (100, 4000), (200, 4000), (60, 20_000)]
"""Templates, and records of the corpus."""
NEAR = 0.7

_FREE = 0.15  # of the records fill no template
_COPIES, _LONGER = 0.06, 0.3  # of the records have an edited copy; of those held out a longer one
_LABELS = ["positive", "negative", "neutral", "unclear", "yes", "no", "first", "second", "other"]
_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "is")]


@dataclass(frozen=True, slots=True)
class Planted:
    """One clean record: its texts by field, and how a row is made of them."""

    texts: tuple[str, ...]
    row: Callable[[tuple[str, ...]], Row]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.texts)


Filler: TypeAlias = Callable[[random.Random], Planted]


class Text:
    """Words that no other record has had: sentences or code of packages, or made-up words."""

    def __init__(self, seed: int, wanted: int) -> None:
        sources = {kind: collect(kind, wanted, 800, seed) for kind in ("prose", "code")}
        self._units = {kind: ["".join(u) for u in found.units] for kind, found in sources.items()}
        self._frames = {
            kind: ["".join(u) for u in found.held_out] for kind, found in sources.items()
        }
        self.vocabulary = sources["prose"].vocabulary
        self._next = dict.fromkeys(self._units, 0)
        rng = random.Random(f"{seed}/text")
        for units in (*self._units.values(), *self._frames.values()):
            rng.shuffle(units)

    def slot(self, kind: str, words: int) -> str:
        """About `words` words in a row; of code whole lines."""
        units = self._units[kind]
        unit = units[self._next[kind] % len(units)]
        self._next[kind] += 1
        if kind == "code":
            lines = unit.split("\n")
            return "\n".join(lines[: max(words // 4, 1)])
        return " ".join(unit.split()[:words])

    def frame(self, kind: str, words: int, rng: random.Random) -> str:
        """About `words` words from packages that give no slots."""
        found: list[str] = []
        while sum(map(variants.count_words, found)) < words:
            found.append(rng.choice(self._frames[kind]))
        text = ("\n" if kind == "code" else " ").join(found)
        return text if kind == "code" else " ".join(text.split()[:words])


def made_up(rng: random.Random, words: int) -> str:
    """So many words of syllables, some in common use, with a stop here and there."""
    common = [a + b for a in _SYLLABLES[:12] for b in ("n", "k", "s")]
    said = [
        rng.choice(common) if rng.random() < 0.4 else "".join(rng.choices(_SYLLABLES, k=3))
        for _ in range(words)
    ]
    return " ".join(word + ("." if rng.random() < 0.08 else "") for word in said)


# The two styles


def instructions(text: Text, rng: random.Random) -> Filler:
    """A template of instruction data."""
    kind = "code" if rng.random() < 0.25 else "prose"
    frame = text.frame("prose", rng.randint(10, 60), rng)
    low = rng.randint(2, 25)
    high = min(low + rng.randint(0, 10), 25)
    inside = rng.random() < 0.3
    labels = rng.sample(_LABELS, rng.randint(2, 4)) if rng.random() < 0.5 else []
    form = rng.choice(["alpaca", "prompt", "messages", "text"])
    words = frame.split()
    cut = rng.randint(len(words) // 2, len(words)) if inside else len(words)
    gap = "\n" if kind == "code" else " "

    used: list[set[str]] = []

    def fill(rng: random.Random) -> Planted:
        slot = text.slot(kind, rng.randint(low, high))
        while _alike(slot, used):
            slot = text.slot(kind, rng.randint(low, high))
        answer = rng.choice(labels) if labels else text.slot("prose", rng.randint(3, 25))
        before, after = " ".join(words[:cut]), " ".join(words[cut:])
        if inside:
            before, slot = f"{before}{gap}{slot}{gap}{after}", ""
        return Planted((before, slot, answer), rows[form])

    return fill


def _alike(slot: str, used: list[set[str]]) -> bool:
    """Whether half of the words of `slot` are in one of `used`; else it is used from now on."""
    words = set(variants.plain_words(slot.lower())) or {slot}
    if any(2 * len(words & other) >= len(words | other) for other in used):
        return True
    used.append(words)
    return False


def _alpaca(texts: tuple[str, ...]) -> Row:
    return {"instruction": texts[0], "input": texts[1], "output": texts[2]}


def _prompt(texts: tuple[str, ...]) -> Row:
    return {"prompt": " ".join(filter(None, texts[:2])), "completion": texts[2]}


def _messages(texts: tuple[str, ...]) -> Row:
    said = [("user", "\n".join(filter(None, texts[:2]))), ("assistant", texts[2])]
    return {"messages": [{"role": role, "content": content} for role, content in said]}


def _text(texts: tuple[str, ...]) -> Row:
    return {"text": "\n".join(filter(None, texts))}


def _turns(texts: tuple[str, ...]) -> Row:
    roles = ["user", "assistant"] * len(texts)
    return {
        "messages": [
            {"role": role, "content": content} for role, content in zip(roles, texts, strict=False)
        ]
    }


rows = {"alpaca": _alpaca, "prompt": _prompt, "messages": _messages, "text": _text}


def documents(text: Text, rng: random.Random) -> Filler:
    """A template of another kind of data."""
    form = rng.choice(["chat", "page", "file"])
    sizes = sorted(rng.sample(range(2, 26), 2))
    size = rng.randint(10, 60)
    if form == "chat":
        opening = (made_up(rng, size // 2), made_up(rng, size - size // 2))
        labels = rng.sample(_LABELS, 3) if rng.random() < 0.4 else []

        def chat(rng: random.Random) -> Planted:
            asked = made_up(rng, rng.randint(*sizes))
            said = rng.choice(labels) if labels else made_up(rng, rng.randint(4, 20))
            return Planted((*opening, asked, said), _turns)

        return chat
    if form == "page":
        header, footer = made_up(rng, max(size // 2, 5)), made_up(rng, max(size // 2, 5))

        def page(rng: random.Random) -> Planted:
            return Planted((f"{header}\n", made_up(rng, rng.randint(*sizes)), f"\n{footer}"), _text)

        return page
    licence = "\n".join(f"# {line}" for line in _lines(made_up(rng, size), 9))
    imports = "\n".join(f"import {rng.choice(_SYLLABLES)}{n}" for n in range(rng.randint(2, 9)))

    def file(_: random.Random) -> Planted:
        return Planted((licence, imports, text.slot("code", 25)), _text)

    return file


def _lines(text: str, size: int) -> Iterator[str]:
    words = text.split()
    for begin in range(0, len(words), size):
        yield " ".join(words[begin : begin + size])


STYLES = {"instructions": instructions, "documents": documents}


# Corpus and score


def plant(folder: Path, style: str, templates: int, records: int, seed: int) -> list[Row]:
    """Write `corpus.jsonl` into `folder`; the truth, a row for each planted copy or longer record:
    `id`, `plant`, `of`, and for copies `jaccard`."""
    rng = random.Random(f"{seed}/{style}/{templates}/{records}")
    text = Text(seed, records * 3)
    fillers = [STYLES[style](text, rng) for _ in range(templates)]
    sizes = [math.exp(rng.uniform(math.log(3), math.log(1000))) for _ in fillers]
    scale = records * (1 - _FREE) / sum(sizes)
    lines: list[Row] = []
    truth: list[Row] = []
    clean: list[tuple[str, Planted]] = []

    def add(planted: Planted, name: str) -> None:
        lines.append({"id": name, **planted.row(planted.texts)})

    for number, (fill, size) in enumerate(zip(fillers, sizes, strict=True)):
        for i in range(min(max(round(size * scale), 3), 1000)):
            clean.append((f"t{number}-{i}", fill(rng)))
    for i in range(int(records * _FREE)):
        asked, said = (text.slot("prose", 40) + " " + text.slot("prose", 40) for _ in range(2))
        clean.append((f"free-{i}", Planted((asked, "", said), _prompt)))
    for name, planted in clean:
        add(planted, name)
        draw = rng.random()
        if draw < _COPIES:
            copy = _edited(planted, text, rng)
            similarity = variants.jaccard(_spoken(planted), _spoken(copy))
            truth.append({"id": f"{name}-copy", "plant": "near", "of": name, "jaccard": similarity})
            add(copy, f"{name}-copy")
        elif _held_out(name) and draw < _COPIES + _LONGER:
            longer = next(n for i in range(99) if not _held_out(n := f"{name}-longer{i}"))
            truth.append({"id": longer, "plant": "leak", "of": name})
            around = [text.slot("prose", 30) for _ in range(4)]
            said = f"{around[0]} {around[1]}\n{_spoken(planted)}\n{around[2]}"
            lines.append({"id": longer, "prompt": said, "completion": around[3]})
    rng.shuffle(lines)
    (folder / "corpus.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return truth


def _spoken(planted: Planted) -> str:
    return "\n".join(filter(None, planted.texts))


def _held_out(name: str) -> bool:
    return split_position(name) < Splits().validation_share + Splits().test_share


def _edited(planted: Planted, text: Text, rng: random.Random) -> Planted:
    """A copy with some words of the whole record exchanged, inserted or left out."""
    words = [part.split(" ") for part in planted.texts]
    # Another label is another record, not a copy.
    long = [i for i, part in enumerate(words) if i < 2 or len(part) > 2]
    places = [(i, j) for i in long for j, word in enumerate(words[i]) if word]
    share = rng.uniform(0.05, 0.15) if rng.random() < 0.3 else rng.uniform(0.01, 0.05)
    for i, j in rng.sample(places, max(round(share * len(places)), 1)):
        new = rng.choice(text.vocabulary)
        words[i][j] = rng.choice([new, f"{words[i][j]} {new}", ""])
    texts = tuple(" ".join(filter(None, part)) for part in words)
    return Planted(texts, planted.row)


def score(truth: list[Row], out: Path) -> Row:
    """Counts of what was dropped rightly and wrongly."""
    dropped = {row["id"]: row for row in _read(out / "dropped.jsonl")}
    kept = [
        row["id"]
        for name in ("train", "validation", "test")
        for row in _read(out / f"{name}.jsonl")
    ]
    family = {row["id"]: row["of"] for row in truth if row["plant"] == "near"}
    longer = {row["id"] for row in truth if row["plant"] == "leak"}
    wrong: Counter[str] = Counter()
    right = 0
    for name, row in dropped.items():
        reason, evidence = row["reason"], row["evidence"]
        other = evidence.get("kept_id") or evidence.get("held_out_id")
        if other and family.get(name, name) == family.get(other, other):
            right += reason == "near_duplicate"
            continue
        if name not in longer and name not in family:
            wrong[reason] += 1
        elif reason == "near_duplicate":
            wrong[f"planted: {reason}"] += 1
    near = [row for row in truth if row["plant"] == "near" and row["jaccard"] >= NEAR]
    found = [row["id"] in dropped or row["of"] in dropped for row in near]
    leaks = [row["id"] in dropped for row in truth if row["plant"] == "leak"]
    clean = len(dropped) + len(kept) - len(family) - len(longer)
    near_drops = right + wrong["near_duplicate"] + wrong["planted: near_duplicate"]
    return {
        "clean": clean,
        "wrong": dict(wrong),
        "dropped wrongly": sum(n for r, n in wrong.items() if ":" not in r) / clean,
        "near": sum(found) / len(near) if near else None,
        "nears": len(near),
        "precision": right / near_drops if near_drops else None,
        "leaks": sum(leaks) / len(leaks) if leaks else None,
        "leaking": len(leaks),
    }


def _read(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        yield from map(orjson.loads, file)


def measure(style: str, templates: int, records: int, seed: int, keep: Path | None = None) -> Row:
    """Plant one mixture, curate it, and score the outcome."""
    with tempfile.TemporaryDirectory(prefix="templates-") as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(exist_ok=True)
        truth = plant(folder, style, templates, records, seed)
        (folder / "truth.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in truth))
        command = curate_command(folder / "corpus.jsonl", [], folder / "out")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return score(truth, folder / "out")


def main() -> None:
    """Measure the mixtures of a style and print a table."""
    parser = argparse.ArgumentParser(description="Mixtures of templates, curated.")
    parser.add_argument("--style", choices=list(STYLES), default="instructions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--records", type=int, help="only mixtures with so many records")
    parser.add_argument("--keep", type=Path, help="folder for the corpus of the last mixture")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    mixtures = [m for m in MIXTURES if given.records in (None, m[1])]
    names = ["clean", "dropped wrongly", "near", "nears", "precision", "leaks", "leaking", "wrong"]
    if not given.json:
        print(f"{given.style}, seed {given.seed}; bars: {BARS}\n")
        print("| templates | records | " + " | ".join(names) + " |")
        print("|" + "---|" * (len(names) + 2))
    for templates, records in mixtures:
        found = measure(given.style, templates, records, given.seed, given.keep)
        if given.json:
            print(json.dumps({"templates": templates, "records": records, **found}))
            continue
        cells = [f"{v:.4f}" if isinstance(v := found[n], float) else str(v) for n in names]
        print(f"| {templates} | {records} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
