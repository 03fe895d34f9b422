"""Texts with a true label that a machine has at hand: package descriptions, and docstrings."""

import re
import subprocess
from collections import Counter
from dataclasses import dataclass

from tasks.collect.docstrings import functions
from tasks.core.order import order_key

_MOST_PER_LABEL = 400
_LABELS = 12
_NO_TOPIC = {"oldlibs", "debug", "misc", "metapackages", "doc", "localization", "kernel"}
PACKAGES = (
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "sqlalchemy",
    "networkx",
    "pydantic",
    "rich",
)


@dataclass(frozen=True)
class Text:
    """A text, its label, and what it belongs to."""

    text: str
    label: str
    group: str


def descriptions() -> list[Text]:
    """One-line descriptions of Debian's packages; the label is the section, the group the source.

    Empty where this machine has no lists of packages (`apt-get update`).
    """
    try:
        done = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=False)
    except FileNotFoundError:
        return []
    found = []
    for block in done.stdout.decode(errors="replace").split("\n\n"):
        fields = dict(
            re.findall(r"^(Package|Source|Section|Description(?:-en)?): (.+)$", block, re.M)
        )
        summary = fields.get("Description") or fields.get("Description-en")
        section = fields.get("Section", "").rpartition("/")[2]
        if summary and section and section not in _NO_TOPIC:
            source = fields.get("Source", fields["Package"]).split()[0]
            found.append(Text(summary, section, source))
    return _balanced(found)


def docstrings() -> list[Text]:
    """First sentences of docstrings; the label is the package, the group the module."""
    found = []
    for package in PACKAGES:
        try:
            found += [
                Text(item.summary, package, f"{package} {item.module}")
                for item in functions(package)
            ]
        except Exception as error:  # noqa: BLE001 (a package that is not installed)
            print(f"{package}: left out: {error}")
    return _balanced(found)


def _balanced(texts: list[Text]) -> list[Text]:
    """The commonest labels, at most so many texts of each, drawn by a hash."""
    distinct = {text.text: text for text in texts}
    order = sorted(distinct.values(), key=lambda text: order_key(text.text))
    common = [label for label, _ in Counter(t.label for t in order).most_common(_LABELS)]
    kept: list[Text] = []
    counts: Counter[str] = Counter()
    for text in order:
        if text.label in common and counts[text.label] < _MOST_PER_LABEL:
            counts[text.label] += 1
            kept.append(text)
    return kept
