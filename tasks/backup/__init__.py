"""A copy of what a project cannot make again, taken while it is in use, and its way back.

    manifest    what a backup holds
    copying     taking one
    restoring   putting one back

What a project can make again (converted base models, curated data, trials of a round) stays out,
and so do credentials. Raw data is DVC's: `dvc push`.
"""

from tasks.backup.copying import back_up
from tasks.backup.manifest import Backup, Restored
from tasks.backup.restoring import restore

__all__ = ["Backup", "Restored", "back_up", "restore"]
