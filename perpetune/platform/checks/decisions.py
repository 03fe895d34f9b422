"""The decision log, MLflow as its shadow, and the files of the versions in use."""

from collections.abc import Sequence

from perpetune.platform.checks import CHECKS
from tasks.decisions import Problem
from tasks.settings import Settings


@CHECKS.register
class Decisions:
    """Whether the log holds, MLflow agrees with it, and what is in use is what was registered."""

    name = "decisions"
    label = "decision log, aliases, versions and their files"

    def examine(self, settings: Settings) -> Sequence[Problem]:
        """What `perpetune audit` finds."""
        from tasks.registry import Registry

        return Registry(settings).audit().problems

    def fix(self, settings: Settings) -> Sequence[str]:
        """Bring MLflow to what the log says, and restore the log from this machine's copy."""
        from tasks.registry import Registry

        return Registry(settings).repair()
