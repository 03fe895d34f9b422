"""The installed packages, compared with those with which the project was tested."""

import importlib.metadata
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from perpetune.platform.checks import CHECKS
from perpetune.platform.results import Advice
from tasks.decisions import Problem
from tasks.settings import Settings

_LOCK = Path("requirements.lock")
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^\s;\\]+)")
_SHOWN = 5


@CHECKS.register
class Versions:
    """Whether what is installed is what `requirements.lock` names."""

    name = "versions"
    label = "installed packages"

    def examine(self, _: Settings) -> Sequence[Problem]:
        """Packages of another version. Without a lock file here there is nothing to compare."""
        found = list(_others(_LOCK))
        if not found:
            return ()
        some = ", ".join(found[:_SHOWN]) + (" and more" if len(found) > _SHOWN else "")
        return (
            Advice(
                what=f"{len(found)} installed packages are not of the version in {_LOCK}: {some}",
                remedy="`make setup`, or `pip install -r requirements.lock`",
            ),
        )

    def fix(self, _: Settings) -> Sequence[str]:
        """Nothing: what is installed is the user's."""
        return ()


def _others(lock: Path) -> Iterator[str]:
    if not lock.is_file():
        return
    for line in lock.read_text(encoding="utf-8", errors="replace").splitlines():
        pin = _PIN.match(line)
        if pin is None:
            continue
        name, wanted = pin.groups()
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra, or of another system
        if installed.partition("+")[0] != wanted.partition("+")[0]:
            yield f"{name} {installed} (locked: {wanted})"
