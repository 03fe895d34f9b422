"""The ports of a platform that is to be started."""

from collections.abc import Sequence

from perpetune.platform import ports
from perpetune.platform.checks import CHECKS
from perpetune.platform.processes import recorded_platform
from perpetune.platform.results import Advice
from tasks.decisions import Problem
from tasks.settings import Settings

_HOST = "127.0.0.1"


@CHECKS.register
class Ports:
    """Whether the platform's ports are free, or its own."""

    name = "ports"
    label = "ports of Prefect and MLflow"

    def examine(self, settings: Settings) -> Sequence[Problem]:
        """Ports that others have. A platform that runs has its own."""
        platform = recorded_platform(settings)
        serving = platform.serving() if platform else frozenset()
        found: list[Problem] = []
        for name in ("prefect", "mlflow"):
            port = getattr(settings.platform, f"{name}_port")
            if name in serving or ports.is_free(_HOST, port):
                continue
            who, ours = ports.who_has(port, settings.project.state_dir)
            free = ports.next_free(_HOST, port) or "PORT"
            other = f"`perpetune up --set platform.{name}_port={free}`"
            found.append(
                Advice(
                    what=f"platform.{name}_port: {port} is taken by {who}",
                    remedy="`perpetune down` ends it" if ours else other,
                )
            )
        return found

    def fix(self, _: Settings) -> Sequence[str]:
        """Nothing: other people's programs are left alone."""
        return ()
