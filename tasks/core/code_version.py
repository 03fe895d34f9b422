"""Which code computes something: a hash that changes when the code does."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def source_hash(folders: Iterable[Path]) -> str:
    """SHA-256 of the names and bytes of all Python files below `folders`, in the order given."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            name = path.relative_to(folder.parent).as_posix()
            digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def library_versions(names: Iterable[str]) -> dict[str, str | None]:
    """The installed version of each distribution; None where it is not installed."""
    return {name: _installed(name) for name in names}


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
