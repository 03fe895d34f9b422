"""Space on the disk, and whether the state can be written."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from perpetune.platform.checks import CHECKS
from perpetune.platform.results import Advice
from tasks.decisions import Problem
from tasks.settings import Settings

_FEW = 1_000_000_000
_SOME = 5_000_000_000


@CHECKS.register
class Disk:
    """Whether a round finds room for what it writes."""

    name = "disk"
    label = "space on the disk, rights to write"

    def examine(self, settings: Settings) -> Sequence[Problem]:
        """Places with little or no room, or that cannot be written."""
        return tuple(_wrong(settings.project.state_dir.absolute()))

    def fix(self, _: Settings) -> Sequence[str]:
        """Nothing is deleted here."""
        return ()


def _wrong(state: Path) -> Iterator[Problem]:
    there = next(path for path in (state, *state.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        yield Problem(
            what=f"{there} cannot be written by this user",
            remedy="`--set project.state_dir=FOLDER` names another, or change its owner",
        )
    for place in dict.fromkeys((there, Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(place).free
        if free < _SOME:
            kind = Problem if free < _FEW else Advice
            yield kind(
                what=f"{free / 1e9:.1f} GB are free in {place}",
                remedy="a round of the default needs about 2 GB; "
                "`prefect deployment run housekeeping/weekly` deletes what is kept too long",
            )
