"""What is done to a text before it is planted: disguises, and edits of a wanted similarity.

A disguise leaves what a reader sees; an edit changes words. All draw from the generator of random
numbers that they are given, and from nothing else.
"""

import itertools
import math
import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from benchmarks.curation.sources import exchangeable

Change: TypeAlias = Callable[[str], str]
Edit: TypeAlias = Literal["words", "block", "move", "append", "cut", "punctuation"]
EDITS: tuple[Edit, ...] = ("words", "words", "words", "block", "move", "append", "cut")

SHINGLE = 5
_WORD = re.compile(r"\w+")
_SPLIT = re.compile(r"(\w+)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
# Signs of other scripts that Unicode's list of confusables maps to the Latin letter.
_ALIKE = {
    "a": "\u0430", "c": "\u0441", "e": "\u0435", "i": "\u0456", "j": "\u0458", "o": "\u043e\u03bf",
    "p": "\u0440", "s": "\u0455", "x": "\u0445", "y": "\u0443",
    "A": "\u0410\u0391", "B": "\u0412\u0392", "C": "\u0421", "E": "\u0415\u0395",
    "H": "\u041d\u0397", "I": "\u0406\u0399", "K": "\u041a\u039a", "M": "\u041c\u039c",
    "N": "\u039d", "O": "\u041e\u039f", "P": "\u0420\u03a1", "T": "\u0422\u03a4",
    "X": "\u0425\u03a7", "Y": "\u03a5", "Z": "\u0396",
}  # fmt: skip
_LATIN = {ord(sign): latin for latin, signs in _ALIKE.items() for sign in signs}
_ACCENTED = str.maketrans("aeoucnAEOUCN", "áéöüçñÁÉÖÜÇÑ")


def shingles(text: str) -> set[tuple[str, ...]]:
    """Word 5-grams of `text`: runs of `\\w` in lower case; a shorter text is one shingle."""
    words = _WORD.findall(text.lower())
    count = max(len(words) - SHINGLE + 1, 1)
    return {tuple(words[at : at + SHINGLE]) for at in range(count)}


def jaccard(one: str, other: str) -> float:
    """Exact Jaccard similarity of the word 5-gram sets of two texts."""
    left, right = shingles(one), shingles(other)
    return len(left & right) / len(left | right)


def count_words(text: str) -> int:
    """Number of runs of `\\w`."""
    return len(_WORD.findall(text))


def visible(text: str) -> str:
    """What is left of `text` under NFKC and case folding, with Latin letters for those that look
    like them, and without format characters and runs of white space: equal where a reader sees no
    difference but case."""
    bare = "".join(sign for sign in text if unicodedata.category(sign) != "Cf").translate(_LATIN)
    folded = unicodedata.normalize("NFKC", bare).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def case(text: str, rng: random.Random) -> str:
    """All capitals, none, or one a word."""
    return rng.choice([str.upper, str.lower, str.title, str.swapcase])(text)


def spaces(text: str, rng: random.Random) -> str:
    """Other white space in some of the gaps, and around the text."""
    gaps = ["  ", "\n", "\t", " \n\n", "\r\n", "\u00a0"]
    parts = [rng.choice(gaps) if part.isspace() and rng.random() < 0.2 else part
             for part in re.split(r"(\s+)", text)]  # fmt: skip
    return rng.choice(["", " ", "\n"]) + "".join(parts) + rng.choice(["  ", "\n\n", "\t"])


def punctuation(text: str, rng: random.Random) -> str:
    """Other stops and commas; the words stay apart and as they are."""
    pieces = _SPLIT.split(text)
    for at in range(0, len(pieces), 2):
        if rng.random() < 0.6:
            pieces[at] = re.sub(r"[.,;:!?](?=\s|$)", lambda _: rng.choice("; . , ! ?"), pieces[at])
    return "".join(pieces) + rng.choice([" ...", "!", " ;"])


def compatible(text: str, rng: random.Random) -> str:
    """Full-width letters and spaces, or ligatures and mathematical letters: NFKC undoes them."""
    if rng.random() < 0.6:
        wide = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}
        return text.translate(wide)
    text = re.sub("ffi|fi|fl", lambda found: {"ffi": "ﬃ", "fi": "ﬁ", "fl": "ﬂ"}[found[0]], text)
    bold = {ord("a") + at: 0x1D41A + at for at in range(26)}
    return _some_words(text, rng, 0.2, lambda word: word.translate(bold)) + "\u00a0"


def decomposed(text: str, _rng: random.Random) -> str:
    """Accents as combining characters (NFD)."""
    return unicodedata.normalize("NFD", text)


def accented(text: str, rng: random.Random) -> str:
    """Composed accents on the letters of a third of the words, so that there is what to
    decompose."""
    return unicodedata.normalize(
        "NFC", _some_words(text, rng, 0.3, lambda word: word.translate(_ACCENTED))
    )


def zero_width(text: str, rng: random.Random) -> str:
    """Zero-width spaces, joiners and byte order marks inside a third of the words."""
    return _some_words(text, rng, 0.35, lambda word: _insert(word, rng.choice(_INVISIBLE), rng))


def soft_hyphen(text: str, rng: random.Random) -> str:
    """Soft hyphens inside half of the words, as hyphenated pages have."""
    return _some_words(text, rng, 0.5, lambda word: _insert(word, "\u00ad", rng))


def homoglyph(text: str, rng: random.Random) -> str:
    """Cyrillic and Greek letters that look like Latin ones: one a word in some words, or all."""
    share = rng.choice([0.3, 0.6, 1.0])

    def swap(word: str) -> str:
        eligible = [at for at, sign in enumerate(word) if sign in _ALIKE]
        chosen = eligible if share == 1.0 else eligible[:1]
        signs = list(word)
        for at in chosen:
            signs[at] = rng.choice(_ALIKE[signs[at]])
        return "".join(signs)

    return _some_words(text, rng, share, swap)


def substituted(text: str, share: float, vocabulary: Sequence[str], rng: random.Random) -> str:
    """Exactly this share of the words (rounded, at least one) exchanged for others."""
    pieces = _SPLIT.split(text)
    count = max(round(share * (len(pieces) // 2)), 1)
    for at in rng.sample(range(1, len(pieces), 2), count):
        pieces[at] = _other(pieces[at], vocabulary, rng)
    return "".join(pieces)


def excerpt(text: str, words: int, rng: random.Random) -> str:
    """This many consecutive words of `text`, with what stands between them."""
    pieces = _SPLIT.split(text)
    first = rng.randrange(len(pieces) // 2 - words + 1)
    return "".join(pieces[2 * first + 1 : 2 * (first + words)])


def edited(
    fields: Sequence[str],
    target: float,
    style: Edit,
    vocabulary: Sequence[str],
    rng: random.Random,
) -> tuple[str, ...]:
    """A near-duplicate of a record's texts whose Jaccard similarity comes out near `target`.

    Each text is edited in proportion to its length. What came out is measured afterwards
    (`jaccard`); the arithmetic here only aims: an isolated word exchanged costs five shingles of
    the old text and adds five new ones, a run of m words m + 4 of each.
    """
    new = tuple(_edit(field, target, style, vocabulary, rng) for field in fields)
    if new != tuple(fields):
        return new
    longest = max(range(len(fields)), key=lambda at: len(fields[at]))
    return tuple(
        _exchange(field, 1, vocabulary, rng) if at == longest else field
        for at, field in enumerate(fields)
    )


def _edit(
    text: str, target: float, style: Edit, vocabulary: Sequence[str], rng: random.Random
) -> str:
    size = max(count_words(text) - SHINGLE + 1, 1)
    if style == "punctuation":
        return punctuation(text, rng)
    if size < 2 * SHINGLE:
        style = "words"
    if style == "append":
        more = " ".join(rng.choices(vocabulary, k=max(round(size * (1 - target) / target), 1)))
        return f"{text}\n{more}" if rng.random() < 0.7 else f"{more}\n{text}"
    if style == "cut":
        return excerpt(text, max(round(size * target), 1) + SHINGLE - 1, rng)
    wanted = size * (1 - target) / (1 + target)  # shingles to lose, as many to gain
    if style == "block":
        return _replace_run(text, max(round(wanted) - SHINGLE + 1, 1), vocabulary, rng)
    if style == "move" and wanted >= 6:
        text = _move(text, rng)
        wanted = max(wanted - 12, 0)
    count = wanted / SHINGLE
    return _exchange(text, int(count + rng.random()), vocabulary, rng)


def _exchange(text: str, count: int, vocabulary: Sequence[str], rng: random.Random) -> str:
    """`count` words exchanged, doubled by another word, or left out."""
    pieces = _SPLIT.split(text)
    places = range(1, len(pieces), 2)
    for at in rng.sample(places, min(count, len(places))):
        draw = rng.random()
        if draw < 0.6:
            pieces[at] = _other(pieces[at], vocabulary, rng)
        elif draw < 0.8:
            pieces[at] += f" {rng.choice(vocabulary)}"
        else:
            # The gap goes with the word, or two spaces would tell.
            pieces[at] = ""
            pieces[at + 1] = pieces[at + 1].removeprefix(" ")
    return "".join(pieces)


def _replace_run(text: str, words: int, vocabulary: Sequence[str], rng: random.Random) -> str:
    pieces = _SPLIT.split(text)
    count = len(pieces) // 2
    words = min(words, count)
    first = rng.randrange(count - words + 1)
    for number in range(first, first + words):
        at = 2 * number + 1
        pieces[at] = _other(pieces[at], vocabulary, rng)
    return "".join(pieces)


def _move(text: str, rng: random.Random) -> str:
    """One sentence (or line) put elsewhere."""
    borders = [0, *(found.end() for found in _SENTENCE.finditer(text)), len(text)]
    sentences = [text[a:b] for a, b in itertools.pairwise(borders) if a < b]
    if len(sentences) < 3:
        return text
    taken = sentences.pop(rng.randrange(len(sentences))).rstrip() + "\n"
    sentences.insert(rng.randrange(len(sentences)), taken)
    return "".join(sentences)


def _other(word: str, vocabulary: Sequence[str], rng: random.Random) -> str:
    new = word
    while new.lower() == word.lower():
        new = vocabulary[math.floor(rng.random() * len(vocabulary))]
    return new.capitalize() if word[:1].isupper() else new


def _some_words(text: str, rng: random.Random, share: float, change: Change) -> str:
    pieces = _SPLIT.split(text)
    for at in range(1, len(pieces), 2):
        if rng.random() < share:
            pieces[at] = change(pieces[at])
    return "".join(pieces)


def _insert(word: str, sign: str, rng: random.Random) -> str:
    if len(word) < 3:
        return word
    at = rng.randrange(1, len(word))
    return word[:at] + sign + word[at:]


def plain_words(text: str) -> list[str]:
    """The words of `text` that another plain word may stand for."""
    return [word for word in _WORD.findall(text) if exchangeable(word)]


def reworded(text: str, share: float, words: Sequence[str], rng: random.Random) -> str:
    """A share of the plain words of `text` exchanged for any of `words`."""
    return _some_words(
        text, rng, share, lambda word: rng.choice(words) if exchangeable(word) else word
    )
