"""Junk that quality filters exist for, made by kind and seed, alone and inside good prose."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.curation.sources import collect

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MISREAD = (("utf-8", "cp1252"), ("utf-8", "latin-1"), ("gbk", "latin-1"), ("latin-1", "utf-8"))
_NOTES = (
    "TODO", "todo", "TBD", "FIXME", "N/A", "n/a", "xxx", "XXXXX", "asdf", "asdfasdf",
    "insert text here", "Insert answer here.", "[your answer here]", "<insert response>",
    "[INSERT TEXT HERE]", "Your text goes here", "{{your answer}}", "Enter text here...",
    "(to be added)", "To be determined", "placeholder", "PLACEHOLDER TEXT", "sample text",
    "[Answer]", "Answer: TODO", "Response: [insert response here]", "TODO: write answer",
    "coming soon", "Coming soon!", "blah blah blah", "___answer here___", "**TBD**",
    "Type your answer here", "content goes here", "<your response here>", "TODO - fill in later",
    "This is a placeholder.", "test text", "Write something here", "Add description here",
    "[insert your answer here]", "To be completed later", "text will be added later",
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit.",
)  # fmt: skip
_LOREM = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut "
    "labore et dolore magna aliqua."
)


@dataclass(frozen=True, slots=True)
class Material:
    """What junk is made of: sentences of prose, and sentences with letters beyond ASCII."""

    sentences: Sequence[str]
    foreign: Sequence[str]


def material(seed: int, foreign: Sequence[str]) -> Material:
    """Sentences of the installed packages, in an order drawn by `seed`."""
    units = collect("prose", 3000, 10, seed).units
    return Material(["".join(pieces) for pieces in units], foreign)


def make(seed: int, count: int, of: Material) -> dict[str, list[str]]:
    """`count` junk texts of each kind; equal seeds and material give equal texts."""
    made = {}
    for kind, write in _KINDS.items():
        chance = random.Random(f"{seed}/{kind}")
        made[kind] = [write(chance, of) for _ in range(count)]
    return made


def _prose(chance: random.Random, of: Material, low: int = 1, high: int = 4) -> str:
    return " ".join(chance.choices(of.sentences, k=chance.randint(low, high)))


def _inside(chance: random.Random, of: Material, junk: str) -> str:
    """Junk at the end or in the middle of prose that is at most as long as it."""
    around = _prose(chance, of)
    while len(around) > len(junk):
        around = around[: len(around) // 2]
    after = chance.choice(["", "", around[::-1].partition(" ")[2][::-1][:60]])
    return f"{around}{chance.choice([' ', chr(10)])}{junk} {after}".strip()


def _characters(chance: random.Random, _: Material) -> str:
    length = chance.choice([5, 7, 12, 30, 100, 400])
    letter = chance.choice(_LETTERS + _LETTERS.upper() + "哈のя")
    return letter * length


def _characters_inside(chance: random.Random, of: Material) -> str:
    run = chance.choice(_LETTERS + "!?.-") * chance.choice([40, 80, 200, 600])
    return _inside(chance, of, run)


def _signs(chance: random.Random, _: Material) -> str:
    unit = chance.choice(
        ["!", "?", ".", "-", "…", "*", "_", "~", "=", "?!", "!?", "-=", "#", "。", ". ", "- ", "*-"]
    )
    least = 3 if unit.strip() in "!?.-…_。?!" else 6
    return (unit * chance.choice([least, least, 7, 10, 40, 200])).strip()


def _looped(chance: random.Random, unit: str, least: int) -> str:
    gap = chance.choice([" ", " ", "\n", "\n\n", ", "])
    text = gap.join([unit] * chance.choice([least, least + 1, 6, 12, 40]))
    cut = chance.choice([0, 0, len(unit) // 3])
    return text[: len(text) - cut]


def _sentence(chance: random.Random, of: Material) -> str:
    return _looped(chance, chance.choice(of.sentences), 4)


def _sentence_inside(chance: random.Random, of: Material) -> str:
    return _inside(chance, of, _looped(chance, chance.choice(of.sentences), 4))


def _phrase(chance: random.Random, of: Material) -> str:
    words = chance.choice(of.sentences).split()
    size = chance.randint(1, 5)
    begin = chance.randrange(max(len(words) - size, 1))
    return _looped(chance, " ".join(words[begin : begin + size]), 12)


def _phrase_inside(chance: random.Random, of: Material) -> str:
    return _inside(chance, of, _phrase(chance, of))


def _cycle(chance: random.Random, of: Material) -> str:
    unit = " ".join(chance.sample(of.sentences, chance.randint(2, 4)))
    return _looped(chance, unit, 4)


def _shuffled(chance: random.Random, of: Material) -> str:
    few = chance.sample([s for s in of.sentences if len(s.split()) > 5], chance.randint(2, 3))
    return " ".join(chance.choices(few, k=chance.randint(14, 40)))


def _foreign_loop(chance: random.Random, of: Material) -> str:
    return _looped(chance, chance.choice([s for s in of.foreign if len(s) > 30]), 4)


def _mojibake(chance: random.Random, of: Material) -> str:
    while True:
        text = " ".join(chance.sample(of.foreign, chance.randint(1, 3)))
        written, read = chance.choice(_MISREAD)
        if written == "gbk":
            text = "".join(c for c in text if c > "\u3000") or "你好,世界,这是一个测试。"
        try:
            broken = text.encode(written, "ignore" if written == "latin-1" else "strict").decode(
                read, "replace" if read == "utf-8" else "ignore"
            )
        except UnicodeEncodeError:
            continue
        if sum(not c.isascii() for c in broken) >= 2 and broken != text:
            return broken


def _mojibake_inside(chance: random.Random, of: Material) -> str:
    text = _prose(chance, of).replace("'", "’") + " It’s “so” – café, naïve, 5 €…"
    return text.encode().decode("cp1252", "ignore")


def _unreadable(chance: random.Random, of: Material) -> str:
    run = "\ufffd" * chance.choice([2, 5, 20])
    return chance.choice([run, _inside(chance, of, run * 3), f"{_prose(chance, of, 1, 2)} {run}"])


def _note(chance: random.Random, _: Material) -> str:
    return chance.choice(_NOTES)


def _lorem_inside(chance: random.Random, of: Material) -> str:
    return f"{_prose(chance, of)} {_LOREM} {_prose(chance, of)}"


def _mashed(chance: random.Random, _: Material) -> str:
    walk = ("asdfghjkl", "qwertyuiop", "lkjhgfdsa", "zxcvbnm", "poiuytrewq")
    style = chance.randrange(3)
    words = []
    for _number in range(chance.randint(1, 5)):
        if style == 0:
            row = chance.choice(walk)
            begin = chance.randrange(len(row) - 5)
            words.append(row[begin : begin + chance.randint(5, 9)])
        else:
            keys = "asdfghjkl" if style == 1 else "asdfjklasdfjkl"
            words.append("".join(chance.choices(keys, k=chance.randint(7, 16))))
    return " ".join(words)


_KINDS: dict[str, Callable[[random.Random, Material], str]] = {
    "repeated characters": _characters,
    "repeated characters inside prose": _characters_inside,
    "punctuation only": _signs,
    "sentence loop": _sentence,
    "sentence loop after prose": _sentence_inside,
    "phrase loop": _phrase,
    "phrase loop after prose": _phrase_inside,
    "cycle of sentences": _cycle,
    "few sentences in any order": _shuffled,
    "loop in other scripts": _foreign_loop,
    "mojibake": _mojibake,
    "mojibake inside prose": _mojibake_inside,
    "U+FFFD": _unreadable,
    "placeholder": _note,
    "lorem ipsum inside prose": _lorem_inside,
    "keys at random": _mashed,
}
