"""Mix: general data is a share of training, so that tuning forgets less."""

import numpy as np

from tasks.curate.ledger import Reason
from tasks.curate.run.statuses import RecordStatus
from tasks.curate.step import GlobalRun, GlobalStep


class Mix(GlobalStep):
    """Of general data so much is kept that it is the share of training that is set."""

    name = title = "mix"
    summary = "Of general data so much is kept, by hash, that it is its share of training."
    needs = ("replay", "keys")

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """That there is more general data than its share."""
        return (
            Reason(
                "replay_surplus",
                "General data beyond the share that is mixed in.",
                keys=("curate.replay.share",),
                remedy="Raise the setting, up to 0.5.",
            ),
        )

    def applies(self, run: GlobalRun) -> bool:
        """Whether there is general data."""
        return bool(run.replay.any())

    def decide(self, run: GlobalRun) -> None:
        """Drop the surplus."""
        training = run.statuses.status == RecordStatus.TRAIN
        task = int((training & ~run.replay).sum())
        wanted = wanted_replay(task, run.settings.replay.share)
        general = np.flatnonzero(training & run.replay)
        by_hash = general[np.argsort(run.shards.column("keys")[general, 0], kind="stable")]
        run.statuses.set(by_hash[wanted:], RecordStatus.REPLAY_SURPLUS)


def wanted_replay(task_records: int, share: float) -> int:
    """Records of general data that make up `share` of training beside those of the task."""
    return round(task_records * share / (1 - share))
