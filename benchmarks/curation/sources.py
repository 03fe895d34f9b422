"""Text that any checkout has at hand: the prose and the code of the packages installed beside it.

A piece of text is kept as a list of strings in which words stand at the odd places and what is
between them at the even ones, so that words can be exchanged and the rest stays as it was.
"""

import keyword
import random
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["prose", "code", "pairs"]
Pieces: TypeAlias = list[str]

FILES_A_PACKAGE = 400
_LARGEST_FILE = 300_000
_HELD_OUT = 5  # one package of so many gives benchmark texts, and nothing else
_WORDS = re.compile(r"(\w+)")
_DOCSTRING = re.compile(r'"""(.*?)"""', re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_PROSE = re.compile(r"[A-Z][^@{}|\\<>=*#_~^$\[\]]*[.!?]")
_UNWANTED = re.compile(r"\d{5}|\d+\.\d+\.\d+\.\d+|--|://|www\.|\bhttp", re.IGNORECASE)
_BLOCK = re.compile(r"^(?=[ \t]*(?:async def|def|class) )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sources:
    """Units (sentences, or blocks of code lines) to build texts from, and words to exchange.

    No run of `overlap` words stands both in `units` and in `held_out`, so that a training text
    made of the former gives nothing away of a benchmark text made of the latter. `tokens` are
    plain words as often as the units have them; `vocabulary` holds each of them once, sorted.
    """

    units: list[Pieces]
    held_out: list[Pieces]
    tokens: list[str]
    vocabulary: list[str]
    overlap: int


def collect(kind: Kind, units: int, held_out: int, seed: int) -> Sources:
    """Read installed packages, in an order drawn by `seed`, until there is enough text.

    Args:
        kind: code for `code`, sentences for the others.
        units: sentences or blocks wanted for training texts; fewer where there are no more.
        held_out: the same for benchmark texts, from packages of their own.
        seed: orders the packages; the result depends on it and on what is installed.
    """
    packages = _packages()
    random.Random(f"{seed}/packages").shuffle(packages)
    overlap = 10 if kind == "code" else 6  # code has many short phrases in common
    guarded: set[tuple[str, ...]] = set()
    benchmark = _gather(packages[::_HELD_OUT], kind, held_out, seed, overlap, set())
    for pieces in benchmark:
        guarded.update(_grams(pieces, overlap))
    others = [package for at, package in enumerate(packages) if at % _HELD_OUT]
    training = _gather(others, kind, units, seed, overlap, guarded)
    tokens = [word for pieces in training for word in pieces[1::2] if exchangeable(word)]
    return Sources(training, benchmark, tokens, sorted(set(tokens)), overlap)


def exchangeable(word: str) -> bool:
    """Whether another plain word may take its place: lower case, no keyword of Python."""
    plain = len(word) > 2 and word.isascii() and word.islower() and word.replace("_", "").isalpha()
    return plain and not keyword.iskeyword(word)


def _gather(
    packages: list[Path],
    kind: Kind,
    wanted: int,
    seed: int,
    overlap: int,
    guarded: set[tuple[str, ...]],
) -> list[Pieces]:
    """Units that neither repeat one another nor say what is guarded."""
    found: list[Pieces] = []
    seen: set[int] = set()
    for package in packages:
        for text in _texts(package, kind, seed):
            pieces = _WORDS.split(text)
            grams = _grams(pieces, 5)
            # Python's hashes of text differ from run to run, their equality does not.
            known = sum(hash(gram) in seen for gram in grams)
            if known * 3 > len(grams) or not guarded.isdisjoint(_grams(pieces, overlap)):
                continue
            seen.update(map(hash, grams))
            found.append(list(map(sys.intern, pieces)))
            if len(found) == wanted:
                return found
    return found


def _packages() -> list[Path]:
    paths = sysconfig.get_paths()
    ours = re.compile(r"perpetune|benchmarks|__pycache__|.*\.libs$|.*-stubs$")
    installed = sorted(path for path in Path(paths["purelib"]).iterdir() if path.is_dir())
    standard = Path(paths["stdlib"])
    folders = [path for path in sorted(standard.iterdir()) if (path / "__init__.py").is_file()]
    return [path for path in [*installed, standard, *folders] if not ours.match(path.name)]


def _texts(package: Path, kind: Kind, seed: int) -> Iterator[str]:
    if package.name.endswith(".dist-info"):
        if kind != "code" and (package / "METADATA").is_file():
            _, _, description = _read(package / "METADATA").partition("\n\n")
            yield from _sentences(description)
        return
    own = package.glob("*.py") if package.name.startswith("python3") else package.rglob("*.py")
    files = sorted(own)
    random.Random(f"{seed}/{package.name}").shuffle(files)
    for path in files[:FILES_A_PACKAGE]:
        if path.stat().st_size > _LARGEST_FILE:
            continue
        source = _read(path)
        if kind == "code":
            yield from _blocks(source)
        else:
            for docstring in _DOCSTRING.findall(source):
                yield from _sentences(docstring)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="ignore")


def _sentences(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in _SENTENCE_END.split(" ".join(paragraph.split())):
            count = sentence.count(" ") + 1
            if 8 <= count <= 26 and _PROSE.fullmatch(sentence) and not _UNWANTED.search(sentence):
                letters = sum(map(str.isalpha, sentence))
                if letters > 0.75 * len(sentence) and len(sentence) < 9 * count:
                    yield sentence


def _blocks(source: str) -> Iterator[str]:
    for block in _BLOCK.split(_DOCSTRING.sub("...", source))[1:]:
        lines = [line for line in block.rstrip().split("\n")[:7] if line.strip()]
        text = "\n".join(lines)
        if len(lines) >= 4 and len(text) < 300 and not re.search("@|\0", text):
            count = len(_WORDS.findall(text))
            if 12 <= count <= 80 and text.isascii() and not _UNWANTED.search(text):
                yield text


def _grams(pieces: Pieces, size: int) -> list[tuple[str, ...]]:
    words = [word.lower() for word in pieces[1::2]]
    return [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]
