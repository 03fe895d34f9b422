"""SHA-256 of what is registered, and whether what is stored is still that."""

from collections.abc import Mapping
from pathlib import Path

from tasks.core import files

_CACHES = "__pycache__"
"""Made by Python beside the code of a served model; not registered."""


def digests(path: Path, prefix: str = "") -> dict[str, str]:
    """SHA-256 of a file, or of every file in a folder, by its POSIX path below `path`'s parent.

    Args:
        path: a file or folder.
        prefix: the name to use in place of `path`'s own; `.`: names are relative to the folder, a
            file's is `.`.
    """
    name = Path(prefix or path.name)
    if path.is_file():
        return {name.as_posix(): files.sha256(path)}
    found = files.sha256s(path)
    return {
        (name / inside).as_posix(): digest
        for inside, digest in found.items()
        if _CACHES not in Path(inside).parts
    }


def differences(registered: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What is not as it was registered: a sentence for each file that changed, went or came."""
    words = []
    for name in sorted(registered.keys() | found.keys()):
        if name not in found:
            words.append(f"{name} is missing")
        elif name not in registered:
            words.append(f"{name} was added")
        elif registered[name] != found[name]:
            words.append(f"{name} was changed")
    return words
