"""Texts that the check was not made with, in the groups that they come in.

- commands: what a shell command does, from a checkout of tldr-pages; a group is a page.
- docstrings: first paragraphs of docstrings in installed packages, without the package's name; a
  group is a module.
- descriptions: paragraphs of package descriptions, from what `apt-cache dumpavail` prints; a group
  is a source package.
"""

import ast
import hashlib
import importlib.util
import random
import re
import subprocess
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TUNED = ("numpy", "pandas", "scipy", "sqlalchemy", "sklearn")
"""Packages whose docstrings were looked at while the check was made."""
HELD_BACK = ("networkx", "sympy", "statsmodels", "ray", "prefect", "mlflow", "optuna", "torch")
_SHORTEST = 20
_SECTIONS = {"perl": "perl", "java": "java", "games": "games", "science": "science"}


@dataclass(frozen=True)
class Text:
    """One text.

    Attributes:
        source: package, system or section; a change of it is drift.
        group: what the text belongs to.
        prompt: the text.
        answer: what belongs to it; empty: nothing.
    """

    source: str
    group: str
    prompt: str
    answer: str = ""


Row = dict[str, Any]


def commands(pages: Path, systems: Iterable[str] = ("linux", "windows", "osx")) -> list[Text]:
    """What a command does, as people would ask for it, and the command."""
    found: dict[str, Text] = {}
    for system in systems:
        for file in sorted((pages / system).glob("*.md")):
            asked = None
            for line in file.read_text(encoding="utf-8").splitlines():
                if line.startswith("- "):
                    asked = line[2:].rstrip(":")
                elif asked and line.startswith("`"):
                    text = Text(system, f"{system}/{file.stem}", asked, line.strip("`"))
                    found.setdefault(asked, text)
                    asked = None
    return [text for text in found.values() if len(text.prompt) > _SHORTEST]


def docstrings(packages: Iterable[str], most: int = 3000) -> list[Text]:
    """First paragraphs of docstrings, and the first line of their function."""
    found: dict[str, Text] = {}
    for package in packages:
        count = 0
        for file in _files(package):
            module = f"{package}/{file.parent.name}/{file.stem}"
            with warnings.catch_warnings(action="ignore"):
                tree = ast.parse(file.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if not isinstance(node, ast.FunctionDef) or not (doc := ast.get_docstring(node)):
                    continue
                prompt = re.sub(rf"(?i)\b{package}\b", "", " ".join(doc.split("\n\n")[0].split()))
                answer = f"def {node.name}({ast.unparse(node.args)})"
                if len(prompt) > _SHORTEST and prompt not in found:
                    found[prompt] = Text(package, module, prompt, answer)
                    count += 1
            if count >= most:
                break
    return list(found.values())


def descriptions(sections: Iterable[str] = tuple(_SECTIONS)) -> list[Text]:
    """Paragraphs of the descriptions of Debian packages; none where there is no apt."""
    try:
        listed = subprocess.run(
            ["apt-cache", "dumpavail"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    found: dict[str, Text] = {}
    for entry in listed.split("\n\n"):
        fields = dict(
            re.findall(r"^(Package|Source|Section|Description[\w-]*): (.*)$", entry, re.M)
        )
        section = fields.get("Section", "")
        prompt = next((text for key, text in fields.items() if key.startswith("Desc")), "")
        if section in sections and len(prompt) > _SHORTEST:
            group = fields.get("Source", fields.get("Package", "")).split(" ")[0]
            found.setdefault(prompt, Text(section, f"{section}/{group}", prompt))
    return list(found.values())


def of_source(texts: Sequence[Text], source: str) -> list[Text]:
    """The texts of one source."""
    return [text for text in texts if text.source == source]


def draw(texts: Sequence[Text], rows: int, a_group: int, draws: random.Random) -> list[Text]:
    """`rows` texts, `a_group` of each of some groups; 1: independent rows.

    Raises:
        ValueError: there are not enough.
    """
    if a_group == 1:
        return draws.sample(list(texts), rows)
    groups: dict[str, list[Text]] = {}
    for text in texts:
        groups.setdefault(text.group, []).append(text)
    # Parts of large groups are groups of their own: more groups of the wanted size.
    whole = [group for group in groups.values() if len(group) >= a_group]
    chosen = draws.sample(whole, -(-rows // a_group))
    return [text for group in chosen for text in draws.sample(group, a_group)][:rows]


def split(texts: Sequence[Text], rows: int, draws: random.Random, a_group: int) -> list[list[Text]]:
    """Two halves of the texts that share no group, to draw the sides from."""
    groups = sorted({text.group for text in texts})
    if a_group == 1:
        order = list(texts)
        draws.shuffle(order)
        return [order[rows:], order[:rows]]
    draws.shuffle(groups)
    current = set(groups[: len(groups) // 3])
    return [
        [text for text in texts if text.group not in current],
        [text for text in texts if text.group in current],
    ]


def rows(texts: Iterable[Text], *, grouped: bool) -> Iterator[Row]:
    """Texts as rows of traffic, with their group where rows are not independent."""
    for number, text in enumerate(texts):
        row: Row = {"id": str(number), "prompt": text.prompt}
        if text.answer:
            row["completion"] = text.answer
        yield row | {"group": text.group} if grouped else row


def _files(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return []
    root = Path(next(iter(spec.submodule_search_locations)))
    files = [path for path in root.rglob("*.py") if "test" not in str(path.relative_to(root))]
    return sorted(files, key=lambda path: _hash(str(path.relative_to(root))))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
