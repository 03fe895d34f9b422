"""Restoring a backup while nothing of the project runs."""

from pathlib import Path

from perpetune.platform.processes import recorded_platform
from tasks.backup import Restored, restore
from tasks.core.errors import Refused
from tasks.settings import Settings


def restore_stopped(settings: Settings, folder: Path) -> Restored:
    """Put the backup in `folder` back; see `tasks.backup.restore`.

    Raises:
        Refused: the platform runs, or the project has files of its own in the backup's places.
        BadInput: the folder is no whole backup of this project.
    """
    platform = recorded_platform(settings)
    running = platform.alive() if platform else {}
    if running:
        raise Refused(
            f"the platform of this project runs ({', '.join(running)}): `perpetune down` first"
        )
    return restore(settings, folder)
