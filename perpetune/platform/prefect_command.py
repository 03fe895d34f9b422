"""Prefect's own command, as it lies beside this Python."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tasks.core.errors import PerpetuneError

PREFECT = str(Path(sys.executable).parent / "prefect")


def run_prefect(*arguments: str, env: Mapping[str, str] | None = None) -> None:
    """Run it to its end.

    Args:
        arguments: of the command.
        env: its environment; None: this process's.

    Raises:
        PerpetuneError: it failed; the message holds its last lines.
    """
    done = subprocess.run(
        [PREFECT, *arguments],
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise PerpetuneError(f"prefect {' '.join(arguments)} failed:\n{said[-2000:]}")
