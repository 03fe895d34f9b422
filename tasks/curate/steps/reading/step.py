"""Read: a line becomes a record, or the ledger says why not."""

import numpy as np

from tasks.curate.ledger import Dropped, FilterResult, Reason, drop, drop_line
from tasks.curate.run.shards import Columns
from tasks.curate.settings import Splits
from tasks.curate.step import Batch, KeptBatch, Step, StepWorker, WorkerConfig
from tasks.curate.steps.splits import splits
from tasks.records import KINDS, BadLine, Record

_DETAIL = (("detail", "what is wrong"), ("excerpt", "how the line begins"))


def _line(name: str, meaning: str, remedy: str = "", *keys: str) -> Reason:
    return Reason(name, meaning, _DETAIL, keys, remedy)


_REASONS = (
    _line(
        "invalid_json",
        "The line is not valid JSON.",
        "Write one JSON object a line, or name the file by what it is (.json, .csv).",
    ),
    _line("not_utf8", "The line is not UTF-8.", "Save the file as UTF-8."),
    _line(
        "wrong_type",
        "A field has the wrong type.",
        "Write the field that the ledger names with the type that it names.",
    ),
    _line(
        "missing_field",
        "The line lacks the fields of every known format.",
        "Rename the columns to a known format (docs/reference/what-is-read.md).",
    ),
    _line(
        "unread_key",
        "A key that carries content is not read beside the others.",
        "Rename or remove the key, or write its content into the prompt or the answer.",
    ),
    _line(
        "unsupported_content",
        "The record holds images, sound or other content than text.",
        "Leave them out.",
    ),
    _line(
        "unsupported_weight",
        "A turn's weight cannot be honoured.",
        "Only 0 and 1 can, and only on answers of the assistant.",
    ),
    _line(
        "ambiguous",
        "Two keys of the record contradict each other, or one may mean two things.",
        "Leave the one that counts.",
    ),
    _line(
        "empty_turn",
        "An answer says nothing: it would teach the model to be silent.",
        "Leave the turn out, or write it.",
    ),
    _line(
        "nothing_to_learn",
        "No answer of the chat is to be learned: its weights are 0.",
        "Give one answer a weight of 1.",
    ),
    _line(
        "equal_answers",
        "The chosen and the rejected answer are the same.",
        "Leave the record out.",
    ),
    _line(
        "too_long_line",
        "The line is too long to be read.",
        "Raise the setting, or split the record.",
        "curate.max_line_bytes",
    ),
    _line(
        "truncated",
        "The file breaks off here: what followed is lost.",
        "Copy the file again.",
    ),
    Reason(
        splits.UNDATED,
        "The time cannot be read, though curate.splits.validation_from or test_from asks for it.",
        (("timestamp", "what was given"),),
        remedy="Write it as ISO 8601, or as a number of seconds since 1970.",
    ),
)


class Read(Step):
    """Lines become records; those that are no record are dropped."""

    name = title = "read"
    summary = "A line becomes a record of one of the known formats, or is dropped."
    gives = ("line", "kind", "replay", "identity")

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Those of `tasks.records.REASONS`, and of times that cannot be read."""
        return _REASONS

    def start(self, config: WorkerConfig) -> StepWorker:
        """Its part in a worker."""
        return _Reader(config.settings.splits)


class _Reader(StepWorker):
    def __init__(self, settings: Splits) -> None:
        super().__init__()
        self._settings = settings

    def filter(self, batch: Batch) -> FilterResult:
        records: list[Record] = []
        dropped: list[Dropped] = []
        for item in batch.items:
            if isinstance(item, BadLine):
                dropped.append(drop_line(item, Read.name))
            elif evidence := splits.undated(item, self._settings):
                dropped.append(drop(item, Read.name, splits.UNDATED, evidence))
            else:
                records.append(item)
        return records, dropped

    def columns(self, kept: KeptBatch) -> Columns:
        records = kept.records
        identities = [splits.split_position(record.id) for record in records]
        return Columns(
            arrays={
                "line": np.array([record.line for record in records], dtype=np.int64),
                "kind": np.array([KINDS.index(record.kind) for record in records], np.int8),
                "replay": np.full(len(records), kept.replay),
                "identity": np.array(identities, np.float64),
            }
        )
