"""Commands that run in the worktree of a version, with the code that is there."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.core.environment import is_numeric
from tasks.core.errors import BadInput, PerpetuneError

log = logging.getLogger(__name__)

# They lead to the platform, or to the state, of the project as it is now.
_OURS = ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


@dataclass(frozen=True, slots=True)
class Worker:
    """Runs the commands of a version's code in its worktree."""

    project: Path
    """The project's folder there."""
    scratch: Path
    """For settings files."""
    variables: Mapping[str, str]
    """Set for each command, in place of those of numeric libraries that are set here."""

    @property
    def own_code(self) -> bool:
        """Whether the worktree holds the code; otherwise the installed Perpetune runs."""
        return (self.project / "perpetune" / "__main__.py").is_file()

    def perpetune(self, *arguments: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What `perpetune … --json` prints; its messages go to standard error.

        Args:
            arguments: of the command, paths absolute.
            settings: all of them.

        Raises:
            BadInput, PerpetuneError: the command failed in that way.
        """
        params = self.scratch / f"{arguments[0]}.yaml"
        files.write_text(params, json.dumps(settings, indent=2))  # JSON is YAML
        command = [*arguments, "--params", str(params.absolute()), "--json"]
        done = self._python("-m", "perpetune", *command)
        lines = done.stdout.decode(errors="replace").splitlines()
        try:
            found = json.loads(lines[-1])
        except (IndexError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise PerpetuneError(
                f"`perpetune {arguments[0]}` of the recorded code ended with exit code "
                f"{done.returncode} and without a result; its messages are above"
            )
        if done.returncode:
            kind = BadInput if done.returncode == BadInput.exit_code else PerpetuneError
            raise kind(f"`perpetune {arguments[0]}` of the recorded code: {found.get('error')}")
        return found

    def dvc(self, *arguments: str) -> bool:
        """Whether a command of DVC succeeded in the worktree; what it prints goes to the log."""
        done = self._python("-P", "-m", "dvc", *arguments)
        for line in done.stdout.decode(errors="replace").splitlines():
            log.info("dvc: %s", line)
        return done.returncode == 0

    def _python(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        environment = {name: os.environ[name] for name in os.environ if not _left_out(name)}
        if self.own_code:
            environment["PYTHONPATH"] = str(self.project.absolute())
        environment |= self.variables
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.project,
            env=environment,
            stdout=subprocess.PIPE,
            check=False,
        )


def _left_out(name: str) -> bool:
    return name in _OURS or (is_numeric(name) and name != "CUDA_VISIBLE_DEVICES")
