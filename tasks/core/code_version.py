"""Which code computes something: a key that changes when the code does."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tasks.core.files import content_key
from tasks.core.plugins import plugin_hashes

_TASKS = Path(__file__).parent.parent


def code_version(packages: Iterable[str], plugins: Iterable[str], libraries: Iterable[str]) -> str:
    """A key of the code of packages of `tasks`, of the user's own and of the libraries they use.

    Every change of a source file changes it, also that of a comment.

    Args:
        packages: names of packages, such as `tune`.
        plugins: the user's files and modules (`project.plugins`).
        libraries: names of distributions; one that is not installed counts as such.

    Raises:
        BadInput: there is no such plugin.
    """
    return content_key(
        {name: source_hash(_TASKS / name) for name in packages},
        plugin_hashes(plugins),
        {name: _installed(name) for name in libraries},
    )


def source_hash(folder: Path) -> str:
    """SHA-256 of the names and bytes of all Python files below `folder`."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
