"""Split: its group decides whether a record trains, validates or tests; no split leaks another."""

import numpy as np
import numpy.typing as npt

from tasks.core.errors import BadInput
from tasks.curate.ledger import Reason
from tasks.curate.run.shards import Columns
from tasks.curate.run.statuses import RecordStatus
from tasks.curate.settings import Splits
from tasks.curate.step import GlobalRun, GlobalStep, KeptBatch, StepWorker, WorkerConfig
from tasks.curate.steps.duplicates.facts import lacks_own_content
from tasks.curate.steps.duplicates.pairs import compare_facts
from tasks.curate.steps.duplicates.signatures import SHINGLE
from tasks.curate.steps.splits import split_leakage, splits
from tasks.curate.steps.splits.split_leakage import Leak
from tasks.curate.text.ngrams import Positions


class Split(GlobalStep):
    """Groups go to the splits; what contains a record of another split is dropped."""

    name = title = "split"
    summary = "Groups go to training, validation or test; records that leak a split are dropped."
    gives = ("position", "time_split")
    needs = ("position", "time_split", "replay", "shingles", "words")

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """That a validation or test record is in the record."""
        return (
            Reason(
                split_leakage.REASON,
                "The record contains a validation or test record.",
                (
                    ("split", "the other record's split"),
                    ("held_out_id", "the other record"),
                    ("held_out_source", "its file"),
                    ("held_out_line", "its line"),
                    ("overlap", "share of its word 5-grams, from 0 to 1"),
                    ("ngram", "words of an n-gram"),
                ),
                ("curate.splits.max_overlap",),
                "Give both records one group; or raise the setting, null: not checked.",
            ),
        )

    def start(self, config: WorkerConfig) -> StepWorker:
        """Its part in a worker."""
        return _Positions(config.settings.splits)

    def decide(self, run: GlobalRun) -> None:
        """Give each remaining record its split; drop those that contain a record of another."""
        statuses, replay = run.statuses, run.replay
        remaining = statuses.remaining()
        # General data is for training only: what is chosen and tested is the task.
        statuses.set(remaining[replay[remaining]], RecordStatus.TRAIN)
        task = remaining[~replay[remaining]]
        positions = run.shards.column("position")[task]
        times = run.shards.column("time_split")[task]
        statuses.status[task] = splits.assign_splits(positions, times, run.settings.splits)
        if run.settings.splits.max_overlap is not None:
            _drop_leaks(run, run.settings.splits.max_overlap)


class _Positions(StepWorker):
    def __init__(self, settings: Splits) -> None:
        super().__init__()
        self._settings = settings

    def columns(self, kept: KeptBatch) -> Columns:
        keys = [splits.group_key(record) for record in kept.records]
        times = [splits.time_split(record, self._settings) for record in kept.records]
        return Columns(
            arrays={
                "position": np.array([splits.split_position(key) for key in keys], np.float64),
                "time_split": np.array(times, dtype=np.int8),
            }
        )


def _drop_leaks(run: GlobalRun, share: float) -> None:
    """Drop what contains a test record, then what of training contains a validation record."""
    shards, statuses = run.shards, run.statuses
    training, validation, test = (
        statuses.having(status)
        for status in (RecordStatus.TRAIN, RecordStatus.VALIDATION, RecordStatus.TEST)
    )

    def lacking(pairs: Positions) -> npt.NDArray[np.bool_]:
        return compare_facts(
            shards, pairs, lambda record, held_out, _: lacks_own_content(record, held_out)
        )

    def leaks(records: Positions, held_out: Positions) -> list[Leak]:
        frames = statuses.template_shingles
        return split_leakage.leaks(shards, records, held_out, frames, share, lacking)

    found = leaks(validation, test)
    validation = np.setdiff1d(validation, np.array([leak.record for leak in found], np.int64))
    of_training = leaks(training, np.sort(np.concatenate([validation, test])))
    if len(of_training) == len(training) or not len(validation):
        raise BadInput(
            "curate: every record of a split contains a record of another: give records that "
            "belong together one `group`, or raise curate.splits.max_overlap"
        )
    _enter_leaks(run, found + of_training)


def _enter_leaks(run: GlobalRun, leaks: list[Leak]) -> None:
    statuses = run.statuses
    numbers = np.unique(np.array([leak.held_out for leak in leaks], np.int64))
    held_out = dict(zip(numbers.tolist(), run.shards.identities(numbers), strict=True))
    for leak in leaks:
        statuses.evidence[leak.record] = {
            "split": RecordStatus(statuses.status[leak.held_out]).split,
            **{f"held_out_{name}": value for name, value in held_out[leak.held_out].items()},
            "overlap": round(leak.share, 4),
            "ngram": SHINGLE,
        }
    statuses.set([leak.record for leak in leaks], RecordStatus.LEAKS_SPLIT)
