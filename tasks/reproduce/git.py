"""Git as a program: what it prints, and what it says where it fails."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.core.errors import PerpetuneError


def git(*arguments: str, folder: Path, variables: Mapping[str, str] | None = None) -> bytes:
    """What `git` prints in `folder`.

    Raises:
        PerpetuneError: it failed, or is not installed.
    """
    done = _run(arguments, folder, variables or {})
    if done is None:
        raise PerpetuneError("git is not installed, or not in PATH")
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise PerpetuneError(f"git {' '.join(arguments[:2])}: {reason}")
    return done.stdout


def asked(*arguments: str, folder: Path) -> str | None:
    """One line that `git` answers with; None where it cannot answer."""
    done = _run(arguments, folder, {})
    if done is None or done.returncode:
        return None
    return os.fsdecode(done.stdout).rstrip("\n")


def names(output: bytes) -> list[str]:
    """The paths of an output that was asked for with `-z`."""
    return [os.fsdecode(name) for name in output.split(b"\0") if name]


def _run(
    arguments: Sequence[str], folder: Path, variables: Mapping[str, str]
) -> "subprocess.CompletedProcess[bytes] | None":
    # A hook is a program of the user's, for what the user does.
    command = ["git", "-c", f"core.hooksPath={os.devnull}", *arguments]
    # Inside a hook or an alias these name another repository.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
    }
    try:
        return subprocess.run(
            command, cwd=folder, env=inherited | dict(variables), capture_output=True, check=False
        )
    except FileNotFoundError:
        return None
