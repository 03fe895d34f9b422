"""Rebuild the list of word frequencies that decontamination ships, `tasks/curate/background.txt`.

    apt-get download dict-gcide dict-wn fortunes && for f in *.deb; do dpkg-deb -x $f text; done
    apt-cache dumpavail > text/packages.txt
    python -m benchmarks.curation.background tasks/curate/background.txt \\
        dictionaries=text/usr/share/dictd fortunes=text/usr/share/games/fortunes \\
        packages=text/packages.txt manuals=/usr/share/man/man1 python=site-packages

Each source is a name and a file or folder; all sources count alike, whatever their size.
Of a folder at most `FILES` files are read, drawn by the hash
of their names. What is written are counts of single words: no sentence of any source is in it.
"""

import argparse
import gzip
import hashlib
import math
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tasks.curate.text.normalise import words

WORDS = 21_000
"""Words that the list holds."""
FILES = 4_000
LARGEST = 60_000_000
_MANY = "gcloud"
"""How the names of files begin of which one program brings thousands."""
_WANTED = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]{1,4}|[a-z]+_[a-z]+")
_MARKUP = re.compile(r"\[[^]]*\]|\{[^}]*\}|\\f[BIRP]|^\.\S+|\\", re.MULTILINE)
_FIELD = re.compile(r"^(?:Description: |[A-Z][\w-]*:.*$)", re.MULTILINE)


def main() -> None:
    """Count and write."""
    parser = argparse.ArgumentParser(description="Word frequencies for decontamination.")
    parser.add_argument("out", type=Path)
    parser.add_argument("source", nargs="+", metavar="NAME=PATH")
    given = parser.parse_args()
    shares: Counter[str] = Counter()
    for source in given.source:
        name, _, place = source.partition("=")
        counts = _count(Path(sysconfig.get_path("purelib") if place == "site-packages" else place))
        total = sum(counts.values())
        print(f"{name}: {total:,} words")
        for word, count in counts.items():
            shares[word] += count / total / len(given.source)
    chosen = [word for word, _ in shares.most_common() if _WANTED.fullmatch(word)][:WORDS]
    lines: dict[float, list[str]] = {}
    for word in chosen:
        lines.setdefault(round(-2 * math.log2(shares[word])) / 2, []).append(word)
    text = "".join(f"{bits:g} {' '.join(sorted(found))}\n" for bits, found in sorted(lines.items()))
    given.out.write_text(text, encoding="utf-8")
    print(f"{given.out}: {len(chosen):,} words, {len(text):,} bytes")


def _count(place: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for path in _paths(place):
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        text = _MARKUP.sub(" ", _FIELD.sub("", data.decode("utf-8", "ignore")))
        counts.update(words(text))
    return counts


def _paths(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    wanted = (".gz", ".dz", ".py", "")
    found = [
        path
        for path in place.rglob("*")
        if path.is_file()
        and path.suffix in wanted
        and path.stat().st_size < LARGEST
        and not path.name.startswith(_MANY)
    ]
    found.sort(key=lambda path: hashlib.blake2b(str(path.relative_to(place)).encode()).digest())
    yield from found[:FILES]


if __name__ == "__main__":
    main()
