"""Do the default quality filters keep what is right, and drop junk?

    python -m benchmarks.curation.quality --tldr FOLDER --seed 1
    python -m benchmarks.curation.quality --half b --seed 99 --show 20

Right are files of this machine (data, markup, code, logs, translations), as answers and as texts,
single lines of shell scripts, and the commands of tldr-pages where a checkout of them is given.
A line of a file is one where it has a letter, a digit or a bracket.
They are cut into halves by a hash of their path: half `a` was looked at when the filters were
written, half `b` was not. Junk is written by `junk_texts`. Lengths are not asked. Bars: at most
0.1 % of what is right is dropped, at least 95 % of each kind of junk is.
"""

import argparse
import csv
import gettext
import hashlib
import json
import os
import random
import re
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.curation import junk_texts
from tasks.curate.settings import Curate
from tasks.curate.steps.quality.filtering import active_filters, apply_filters
from tasks.curate.steps.quality.measurements import Measurements
from tasks.curate.text.ngrams import repeated_share
from tasks.curate.text.turn_texts import TurnWords
from tasks.records import Record, parse

WRONG, FOUND = 0.001, 0.95
_ROOTS = ("/usr", "/etc", "/var/lib", "/var/log", "/opt", "/root", "/home")
_KINDS = {
    "JSON": (".json", ".ipynb", ".jsonl", ".webmanifest"),
    "XML": (".xml", ".xsd", ".xsl", ".pom", ".plist", ".rng"),
    "SVG": (".svg",),
    "SQL": (".sql",),
    "CSV, TSV, tables": (".csv", ".tsv", ".tab", ".dat", ".decTest"),
    "logs, lists": (".log", ".list", ".symbols", ".md5sums"),
    "YAML, TOML, INI": (".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".service", ".lock"),
    "HTML, CSS": (".html", ".htm", ".css"),
    "Markdown, RST, TeX": (".md", ".rst", ".tex", ".txt"),
    "Python": (".py", ".pyi", ".pyx", ".pxd"),
    "C, C++, CUDA": (".c", ".h", ".cc", ".cpp", ".hpp", ".cu", ".cuh", ".inl"),
    "JavaScript, TypeScript": (".js", ".mjs", ".ts", ".tsx"),
    "other languages": (
        ".pl", ".pm", ".rb", ".go", ".rs", ".java", ".lua", ".php", ".f90", ".f", ".tcl", ".el",
        ".vim", ".sh", ".bash", ".awk", ".m4", ".cmake", ".mk", ".bc", ".r", ".R", ".jl", ".hs",
        ".ml", ".scm", ".asm", ".s", ".S", ".proto", ".diff", ".patch", ".postinst",
    ),
}  # fmt: skip
_CHARACTERS = 4000
_CATALOGUES = re.compile(r"/([a-z]{2,3}(?:_[A-Z]{2})?)/LC_MESSAGES/")
SHORT = """
(b) | B). | (C) | C++ | C# | F# | $5. | -5. | 3.14 | 1/2 | 50% | == | != | === | !== | <=>
=> | -> | {} | [] | () | {{}} | [[]] | <> | </> | && | || | ++ | -- | ** | // | << | >>=
??= | ?. | ... args | := | :: | @ | # | $? | $! | $$ | !! | sudo !! | cd - | cd ..
ls -la | ./a.out | *.py | **/*.c | * | ^\\d{4}-\\d{2}$ | ^.*$ | [^>]* | (?:\\w+\\s?)+
.*? | \\b | [a-z]+ | ^$ | (.)\\1 | \\$\\{[^}]+\\} | $\\frac{1}{2}$ | $$x^2$$ | \\alpha
\\[ x \\] | 2^{10} | x_{i} | $\\emptyset$ | \\{\\} | 👍 | 😀😀😀 | ⭐⭐⭐⭐⭐ | ★★★★☆ | ✓ | ✗ | →
≥ | ± | € | ½ | ∅ | ♥ | 🇩🇪 | ❤️ | ¯\\_(ツ)_/¯ | :-) | ;) | <3 | <p></p> | <br/> | &nbsp;
<!-- --> | <a href="#"></a> | #fff | #ffffff | #000000 | rgba(0,0,0,.5) | SELECT * FROM t;
SELECT COUNT(*) FROM t; | 0 | 1 | 7 | 42 | -1 | 0x1F | 1e-5 | 0.0 | 00000000 | 1111
255.255.255.0 | 11111111 | 0b1010 | 1000000000000 | 10000000000000000 | 9999 | 12:30
2024-06-01 | A | b | yes | no | Yes. | No! | true | false | null | None | NaN | ok | OK
neutral | spam | ham | B | III | XXX | MMXXIV | www | AAA | zzz | hmm | Noooo! | Yes!!!
hahaha | [1, 2, 3] | {"a": 1} | {1: 2} | [0, 0, 0, 0, 0, 0, 0, 0]
0 0 0 0 0 0 0 0 0 0 0 0 | [[0, 0], [0, 0]] | [true, true, true, true, true] | | a | b
| -.-. --.- | ... --- ... | ▁▂▃▄▅ | ░░░░▓▓▓▓ | +-+ | ┌─┐ | a.b.c | x=1 | x += 1 | i++ | !x
(null) | "" | '' | `` | "a" | f() | $HOME | ${x} | %s | %d\\n | \\n | \\t | @property
#include <stdio.h> | 是 | 不 | はい | Да | نعم | 你好 | ñ | é | Ü | «été» | ¿Qué? | ¡Sí!
São Paulo | Å | Ø | ÄÖÜ | NÃO | CAFÉ
"""


def main() -> int:
    """Measure, print, and exit with 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description="Wrong drops and recall of the quality filters.")
    parser.add_argument("--tldr", type=Path, help="checkout of tldr-pages")
    parser.add_argument("--cases", type=Path, nargs="*", default=[], help="JSONL of right answers")
    parser.add_argument("--half", choices=["a", "b"], default="a")
    parser.add_argument("--files", type=int, default=600, help="of each kind at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--junk", type=int, default=300, help="of each kind")
    parser.add_argument("--show", type=int, default=0, help="texts to print of each kind")
    given = parser.parse_args()
    right = dict(_right(given))
    print(f"half {given.half}\n{'right':<34}{'texts':>8}{'dropped':>9}{'share':>9}   bar 0.10 %")
    total: Counter[str] = Counter()
    for name, texts in right.items():
        gone = _dropped(texts, as_texts=not name.startswith("short"))
        wrong = [(number, reason) for number, reason in gone.items() if reason]
        total.update({"texts": len(texts), "wrong": len(wrong)})
        reasons = dict(Counter(reason for _, reason in wrong))
        print(
            f"{name:<34}{len(texts):>8,}{len(wrong):>9}{len(wrong) / len(texts):>9.2%}   {reasons}"
        )
        for number, reason in wrong[: given.show]:
            print(f"    {reason}: {texts[number][:300]!r}")
    share = total["wrong"] / total["texts"]
    print(f"{'all':<34}{total['texts']:>8,}{total['wrong']:>9}{share:>9.3%}\n")
    foreign = [text for text in right["translations"] if sum(not c.isascii() for c in text) > 3]
    recall = _recall(given, foreign)
    return int(share > WRONG or recall < FOUND)


def _recall(given: argparse.Namespace, foreign: Sequence[str]) -> float:
    """Print what is found of each kind of junk; the smallest share."""
    made = junk_texts.make(given.seed, given.junk, junk_texts.material(given.seed, foreign))
    print(f"seed {given.seed}\n{'junk':<34}{'texts':>8}{'found':>9}{'recall':>9}   bar 95 %")
    least = 1.0
    for kind, texts in made.items():
        gone = _dropped(texts, as_texts=False)
        missed = [number for number, reason in gone.items() if not reason]
        found = 1 - len(missed) / len(texts)
        least = min(least, found)
        reasons = dict(Counter(reason for reason in gone.values() if reason))
        print(f"{kind:<34}{len(texts):>8}{len(texts) - len(missed):>9}{found:>9.1%}   {reasons}")
        for number in missed[: given.show]:
            print(f"    missed: {texts[number][:200]!r}")
    return least


def _dropped(texts: Sequence[str], as_texts: bool) -> dict[int, str | None]:
    """The reason for which each text is dropped as an answer or as a text, or None."""
    asks = "What is right here, and how is it written?"
    forms = [{"prompt": asks, "completion": text} for text in texts]
    forms += [{"text": text} for text in texts] if as_texts else []
    records = [parse(form, "a.jsonl", line) for line, form in enumerate(forms, 1)]
    reasons: dict[int, str | None] = {}
    settings = Curate().quality
    filters = active_filters(settings)
    for begin in range(0, len(records), 256):
        batch = [record for record in records[begin : begin + 256] if isinstance(record, Record)]
        shares = repeated_share(TurnWords.of(batch).answers(batch)).tolist()
        places = {(r.source, r.line): s for r, s in zip(batch, shares, strict=True) if s}
        _, gone = apply_filters(batch, filters, settings, Measurements(repeated=places))
        reasons |= {(drop.line - 1) % len(texts): drop.reason for drop in gone}
    return {number: reasons.get(number) for number in range(len(texts))}


def _right(given: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    yield "short answers", [t for line in SHORT.strip().splitlines() for t in line.split(" | ")]
    for path in given.cases:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        yield f"short: {path.stem[:25]}", [row["completion"] for row in rows]
    if given.tldr:
        yield "commands of tldr-pages", _in_half(_commands(given.tldr), given.half)
    found = _files(given.half)
    for kind, suffixes in _KINDS.items():
        paths = [path for suffix in suffixes for path in found.get(suffix, [])]
        random.Random(kind).shuffle(paths)
        texts = [text for path in paths[: given.files] if (text := _read(path)).strip()]
        if texts:
            yield kind, texts
        if kind == "other languages":
            lines = [line.strip() for text in texts for line in text.splitlines()]
            lines = [line for line in lines if re.search(r"[\w(){}\[\]]", line)]
            yield "short: lines of code", random.Random(1).sample(lines, min(len(lines), 6000))
        if kind in ("JSON", "CSV, TSV, tables"):
            yield f"short: parts of {kind}", _parts(texts, kind)
    yield "translations", _translations(found.get(".mo", []))


def _in_half(texts: Sequence[str], half: str) -> list[str]:
    return [text for text in texts if _half(text) == half]


def _half(name: str) -> str:
    return "ab"[hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[0] % 2]


def _commands(folder: Path) -> list[str]:
    """The commands of all pages, with their placeholders' words in place."""
    commands = []
    for path in sorted((folder / "pages").rglob("*.md")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("`") and line.endswith("`"):
                commands.append(re.sub(r"\{\{|\}\}", "", line.strip("`")))
    return commands


def _files(half: str) -> dict[str, list[Path]]:
    """Files of this machine by suffix, of one half, in an order that their names decide."""
    found: dict[str, list[Path]] = {}
    wanted = {suffix for suffixes in _KINDS.values() for suffix in suffixes} | {".mo"}
    seen = set()
    for root in (*_ROOTS, sysconfig.get_path("purelib")):
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                suffix = Path(name).suffix
                path = Path(folder, name)
                if suffix in wanted and name not in seen and _half(str(path)) == half:
                    found.setdefault(suffix, []).append(path)
                    if name not in ("__init__.py", "README.md"):
                        continue
                    seen.add(name)
    return found


def _read(path: Path) -> str:
    """A piece of the file that begins at a line; nothing of what is no text."""
    try:
        if path.stat().st_size > 3_000_000:
            return ""
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    if "\x00" in text:
        return ""
    begin = text.find("\n", len(text) // 3) + 1 if len(text) > 3 * _CHARACTERS else 0
    return text[begin : begin + _CHARACTERS]


def _parts(texts: Sequence[str], kind: str) -> list[str]:
    """Short values: the members of JSON files, the lines of tables."""
    chance = random.Random(kind)
    parts: list[str] = []
    for text in texts:
        if kind == "JSON":
            try:
                value = json.loads(text)
            except ValueError:
                continue
            members = (
                value
                if isinstance(value, list)
                else [*value.values()]
                if isinstance(value, dict)
                else []
            )
            parts += [
                json.dumps(m, ensure_ascii=False) for m in members[:20] if m not in ("", None)
            ]
        else:
            rows = list(csv.reader(text.splitlines()[:50]))
            parts += [",".join(row) for row in rows if re.search(r"\w", "".join(row))]
    return chance.sample(parts, min(len(parts), 6000))


def _translations(paths: Sequence[Path]) -> list[str]:
    """Sentences of programs in many languages."""
    texts: set[str] = set()
    for path in random.Random(1).sample(list(paths), min(len(paths), 300)):
        try:
            with path.open("rb") as file:
                catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        except (OSError, ValueError, UnicodeDecodeError, AttributeError):
            continue
        texts |= {text for key, text in catalogue.items() if key and len(str(text)) > 1}
    ordered = sorted(text for text in texts if text.strip())
    return random.Random(2).sample(ordered, min(len(ordered), 12_000))


if __name__ == "__main__":
    began = time.perf_counter()
    code = main()
    print(f"\n{time.perf_counter() - began:.0f} s")
    raise SystemExit(code)
