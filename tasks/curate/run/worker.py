"""The worker: one chunk of input through the steps that look at one record at a time.

Its outcome depends on the chunk and the config alone, so it does not matter how many workers there
are, where they run, or how the input is cut.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from tasks import records
from tasks.core import files
from tasks.curate.ledger import Dropped
from tasks.curate.run.shards import Columns, ShardWriter
from tasks.curate.run.steps import RECORD_STEPS, STEPS
from tasks.curate.step import Batch, KeptBatch, WorkerConfig
from tasks.curate.steps.privacy.personal_data import mask_line
from tasks.records import BadLine, Record

_BATCH = 256
_BATCH_CHARACTERS = 2**18


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a file, its number among all, and whether it is general data for replay."""

    number: int
    chunk: records.Chunk
    replay: bool = False

    def to_json(self) -> str:
        """As a line of JSON."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def from_json(cls, text: str) -> "Chunk":
        """From a line of JSON."""
        values = orjson.loads(text)
        return cls(**values | {"chunk": records.Chunk(**values["chunk"])})


class ChunkWorker:
    """The steps, made ready once for each process: call it with a `Chunk` in JSON."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        workers = [(step, step.start(config)) for step in STEPS]
        self._filters = workers[: len(RECORD_STEPS)]
        self._columns = [worker for step, worker in workers if step.gives]

    def __call__(self, text: str) -> str:
        """Write the chunk's shard; the answer is the chunk's number."""
        chunk = Chunk.from_json(text)
        with files.atomic_folder(self._config.shard(chunk.number)) as folder:
            self._write_shard(chunk, folder)
        return str(chunk.number)

    def _write_shard(self, chunk: Chunk, folder: Path) -> None:
        writer = ShardWriter(folder)
        passed: Counter[str] = Counter()
        for _, worker in self._filters:
            worker.counts.clear()
        limit = self._config.settings.max_line_bytes
        for items in _batches(records.read_chunk(chunk.chunk, max_line_bytes=limit)):
            batch = Batch(items, chunk.replay)
            passed["in"] += len(items)
            dropped: list[Dropped] = []
            for step, worker in self._filters:
                batch.records, lines = worker.filter(batch)
                dropped += lines
                passed[step.name] += len(batch.records)
            for line in map(mask_line, sorted(dropped, key=lambda line: line.line)):
                writer.drop(line.row() | {"text": line.text})
            self._keep(batch.kept(), writer)
        counts = {step.name: worker.counts for step, worker in self._filters}
        writer.close({"chunk": asdict(chunk.chunk), "passed": passed, "counts": counts})

    def _keep(self, kept: KeptBatch, writer: ShardWriter) -> None:
        columns = Columns()
        for worker in self._columns:
            columns.update(worker.columns(kept))
        ids = [record.id for record in kept.records]
        option = orjson.OPT_APPEND_NEWLINE
        rows = [orjson.dumps(record.row(), option=option) for record in kept.records]
        writer.keep(ids, rows, columns)


def _batches(items: Iterator[Record | BadLine]) -> Iterator[Sequence[Record | BadLine]]:
    """Batches of bounded size; an empty one where there is nothing."""
    batch: list[Record | BadLine] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(item.text) if isinstance(item, Record) else 0
        if len(batch) == _BATCH or size > _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    yield batch
