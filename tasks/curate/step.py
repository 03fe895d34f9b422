"""What a step of curation declares, and how it takes part in a run.

A step has a name, its reasons, and the columns that it gives and needs. Before a chunk's records
are written to a shard, workers call `start(...)` of every step, and then

- `filter` of the steps per record, one after another, on one batch of records after another;
- `columns` of every step, on the records that are left: what later steps compare records by.

After all chunks the driver calls `decide` of the steps over all records, which see columns instead
of texts. `run.steps` lists all steps in their order; worker, driver, report and documentation read
that list.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tasks.curate.ledger import FilterResult, Reason
from tasks.curate.run.shards import Columns, Shards
from tasks.curate.run.statuses import Statuses
from tasks.curate.settings import Curate
from tasks.curate.steps.contamination.benchmarks import Benchmark
from tasks.curate.steps.quality.token_counts import TokenCounts
from tasks.curate.text.ngrams import Words
from tasks.curate.text.turn_texts import TurnWords
from tasks.records import BadLine, Record

Scope: TypeAlias = Literal["record", "all records"]


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What every worker needs to know; equal configs give equal shards.

    Attributes:
        settings: the section `curate`.
        tokenizer: folder of the base model's tokenizer.
        benchmarks: files of the benchmarks.
        shards: folder for the shards.
    """

    settings: Curate
    tokenizer: Path
    benchmarks: tuple[str, ...]
    shards: Path

    def shard(self, number: int) -> Path:
        """The folder of a chunk's shard."""
        return self.shards / f"{number:06d}"


class WordCache:
    """The words of a batch, hashed once for all steps."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.words = TurnWords.of(records)

    def of(self, records: Sequence[Record]) -> TurnWords:
        """The words of those of the records that are left; of changed ones as they are now."""
        number = {id(record): i for i, record in enumerate(self.records)}
        numbers = [number.get(id(record)) for record in records]
        known = [i for i in numbers if i is not None]
        if len(known) < len(numbers):
            return TurnWords.of(records)
        return self.words.take(np.array(known, dtype=np.int64))


@dataclass(slots=True)
class Batch:
    """Some lines of a chunk on their way through the steps per record.

    Attributes:
        items: the lines, in order.
        replay: whether they are general data for replay.
        records: the records that are left.
        counts: their tokens (step quality).
        cache: the words of those that were worth it (step quality).
    """

    items: Sequence[Record | BadLine]
    replay: bool = False
    records: list[Record] = field(default_factory=list)
    counts: TokenCounts = field(default_factory=TokenCounts)
    cache: WordCache | None = None

    def kept(self) -> "KeptBatch":
        """What is left after the steps per record."""
        words = self.cache.of(self.records) if self.cache else TurnWords.of(self.records)
        return KeptBatch(self.records, words, self.counts, self.replay)


@dataclass(frozen=True)
class KeptBatch:
    """Records of a batch that go into the shard, with what steps make columns of.

    Attributes:
        records: in order.
        words: theirs, turn by turn.
        counts: their tokens.
        replay: whether they are general data for replay.
    """

    records: Sequence[Record]
    words: TurnWords
    counts: TokenCounts
    replay: bool

    @cached_property
    def answers(self) -> Words:
        """The words of each record's last answer."""
        return self.words.answers(self.records)


class StepWorker:
    """A step's part in a worker process; does nothing, unless the step says otherwise.

    Attributes:
        counts: figures for the report, summed over all shards.
    """

    counts: Counter[str]

    def __init__(self) -> None:
        self.counts = Counter()

    def filter(self, batch: Batch) -> FilterResult:
        """The records of the batch that stay, perhaps changed, and the ledger's lines."""
        return batch.records, []

    def columns(self, kept: KeptBatch) -> Columns:
        """The columns that the step gives, for these records."""
        del kept
        return Columns()


@dataclass(frozen=True)
class GlobalRun:
    """What the steps over all records work on.

    Attributes:
        shards: what the workers have left. Nothing in them changes.
        statuses: what has become of each record so far; the steps enter their decisions here.
        settings: the section `curate`.
        benchmarks: the records that must not leak.
        scratch: folder for files that steps write for themselves or for each other.
    """

    shards: Shards
    statuses: Statuses
    settings: Curate
    benchmarks: Sequence[Benchmark]
    scratch: Path

    @cached_property
    def replay(self) -> npt.NDArray[np.bool_]:
        """(records,) whether a record is general data for replay."""
        found: npt.NDArray[np.bool_] = self.shards.column("replay")
        return found


class Step:
    """A step; the base class looks at one record at a time.

    Attributes:
        name: as the ledger has it.
        title: as the report's table of steps has it.
        summary: a sentence for the documentation.
        scope: whether records are dropped one by one, or by comparison with all others.
        gives: names of the columns that its part in the worker makes.
        needs: names of the columns that `decide` reads.
    """

    name: str
    title: str
    summary: str
    scope: Scope = "record"
    gives: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the step drops records."""
        return ()

    def start(self, config: WorkerConfig) -> StepWorker:
        """The step's part in a worker, made ready once for each process."""
        del config
        return StepWorker()


class GlobalStep(Step):
    """A step that compares records with all others, by their columns."""

    scope: Scope = "all records"

    def applies(self, run: GlobalRun) -> bool:
        """Whether the step has something to do; otherwise it is not in the report."""
        del run
        return True

    def decide(self, run: GlobalRun) -> None:
        """Enter into `run.statuses` which records are dropped, and where the others go.

        Raises:
            BadInput: with these settings nothing sensible is left.
        """
        raise NotImplementedError
