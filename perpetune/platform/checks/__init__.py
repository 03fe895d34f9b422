"""What `perpetune doctor` looks at: a module here for each check.

@CHECKS.register
class Space:
    name = "disk"
    label = "space on the disk"

    def examine(self, settings): ...

    def fix(self, settings): ...
"""

from collections.abc import Sequence
from typing import Protocol

from tasks.core.plugins import PluginRegistry
from tasks.decisions import Problem
from tasks.settings import Settings


class Check(Protocol):
    """One kind of thing that can be wrong with an installation or a project."""

    @property
    def name(self) -> str:
        """By which the report knows it."""
        ...

    @property
    def label(self) -> str:
        """What is looked at, in words."""
        ...

    def examine(self, settings: Settings, /) -> Sequence[Problem]:
        """What is wrong, and what puts it right; `Advice`: what is worth knowing. Writes nothing.

        Raises:
            PerpetuneError: it cannot be looked at.
        """
        ...

    def fix(self, settings: Settings, /) -> Sequence[str]:
        """Put right what can be put right without deciding anything; nothing is deleted.

        Returns:
            A sentence for each thing that was done.

        Raises:
            PerpetuneError: it cannot be done.
        """
        ...


CHECKS: PluginRegistry[Check] = PluginRegistry("check", __name__)
