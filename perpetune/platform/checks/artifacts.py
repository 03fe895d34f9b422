"""Where the artifacts of a moved or copied project are."""

from collections.abc import Sequence

from perpetune.platform.checks import CHECKS
from tasks.decisions import Problem
from tasks.settings import Settings


@CHECKS.register
class Artifacts:
    """Whether MLflow's local database names the folder in which this project's artifacts are."""

    name = "artifacts"
    label = "place of MLflow's artifacts"

    def examine(self, settings: Settings) -> Sequence[Problem]:
        """Locations of before the project was moved, or of the project that it was copied from."""
        from tasks.registry import Registry

        found = Registry(settings).relocation()
        if not found.locations:
            return ()
        places = " and ".join(found.elsewhere)
        return (
            Problem(
                what=f"{found.locations} recorded locations of artifacts lead to {places}: this "
                f"project was moved or copied, and its artifacts are in {found.here}",
                remedy="`perpetune doctor --relocate`; the next command that writes to the "
                "registry does the same",
            ),
        )

    def fix(self, settings: Settings) -> Sequence[str]:
        """Let them lead to this project."""
        from tasks.registry import Registry

        done = Registry(settings).relocate()
        if not done.locations:
            return ()
        return (f"{done.locations} recorded locations of artifacts lead to {done.here} now",)
