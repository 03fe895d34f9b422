"""Sifting: one chunk of input through the steps that look at one record at a time.

What a worker does. Its outcome depends on the chunk and the plan alone, so it does not matter how
many workers there are, where they run, or how the input is cut.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from tasks import records
from tasks.core import files
from tasks.curate.ledger import Dropped, FilterResult, drop, drop_line, place
from tasks.curate.run.reading import STEP as READ
from tasks.curate.run.shards import PartWriter
from tasks.curate.settings import Curate, Splits
from tasks.curate.steps.contamination.benchmarks import read_benchmarks
from tasks.curate.steps.contamination.contamination import ContaminationIndex
from tasks.curate.steps.duplicates import duplicates
from tasks.curate.steps.privacy import personal_data
from tasks.curate.steps.quality import filtering as quality
from tasks.curate.steps.quality.filters.token_count import FewestTokens, MostTokens
from tasks.curate.steps.quality.measurements import Measurements
from tasks.curate.steps.quality.token_counts import TokenCounter, TokenCounts
from tasks.curate.steps.splits import splits
from tasks.curate.text.ngrams import Words, repeated_share
from tasks.curate.text.turn_texts import TurnWords
from tasks.model import tokens
from tasks.records import KINDS, BadLine, Chunk, Record

_CHAT = KINDS.index("chat")
_BATCH = 256
_BATCH_CHARACTERS = 2**18


@dataclass(frozen=True, slots=True)
class Task:
    """A chunk, its number among all, and whether it is general data for replay."""

    number: int
    chunk: Chunk
    replay: bool = False

    def to_json(self) -> str:
        """As a line of JSON."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """From a line of JSON."""
        values = orjson.loads(text)
        return cls(**values | {"chunk": Chunk(**values["chunk"])})


@dataclass(frozen=True, slots=True)
class Plan:
    """What every worker needs to know; equal plans, equal parts."""

    settings: Curate
    tokenizer: Path
    against: tuple[str, ...]
    parts: Path

    def part(self, number: int) -> Path:
        """The folder of the part that a task leaves."""
        return self.parts / f"{number:06d}"


class Sifter:
    """The steps, made ready once for each worker: call it with a `Task` in JSON."""

    def __init__(self, plan: Plan) -> None:
        settings = plan.settings
        self._plan = plan
        self._counter = TokenCounter(
            tokens.load(plan.tokenizer),
            settings.quality.of(FewestTokens).min_tokens,
            settings.quality.of(MostTokens).max_tokens,
        )
        self._filters = quality.active_filters(settings.quality)
        self._index = ContaminationIndex(
            read_benchmarks(plan.against, settings), settings.contamination
        )

    def __call__(self, task: str) -> str:
        """Sift a chunk into its part; the answer is the task's number."""
        work = Task.from_json(task)
        with files.atomic_folder(self._plan.part(work.number)) as folder:
            self._sift(work, folder)
        return str(work.number)

    def _sift(self, task: Task, folder: Path) -> None:
        writer = PartWriter(folder)
        passed: Counter[str] = Counter()
        private: Counter[str] = Counter()
        items = records.read_chunk(task.chunk, max_line_bytes=self._plan.settings.max_line_bytes)
        for batch in _batches(items):
            good, dropped = _readable(batch, self._plan.settings.splits)
            passed["in"] += len(batch)
            passed[READ] += len(good)
            lengths, cache = self._measure(good)
            kept, gone = self._quality(good, lengths, cache)
            dropped += gone
            passed[quality.STEP] += len(kept)
            (left, gone), found = personal_data.redact(kept, self._plan.settings.privacy)
            dropped += gone
            private.update(found)
            passed[personal_data.STEP] += len(left)
            for line in map(personal_data.shown, sorted(dropped, key=lambda line: line.line)):
                writer.drop(line.row() | {"text": line.text})
            self._keep(writer, left, cache.of(left), lengths, task.replay)
        writer.close({"chunk": asdict(task.chunk), "passed": passed, "personal": private})

    def _measure(self, batch: Sequence[Record]) -> tuple[TokenCounts, "WordCache"]:
        lengths = self._counter.measure(batch)
        # What is too long by far is not worth the memory of looking closer.
        return lengths, WordCache([one for one in batch if not self._huge(one, lengths)])

    def _quality(
        self, batch: Sequence[Record], lengths: TokenCounts, cache: "WordCache"
    ) -> FilterResult:
        shares = repeated_share(cache.words.answers(cache.records)).tolist()
        repetition = {
            place(one): share for one, share in zip(cache.records, shares, strict=True) if share
        }
        return quality.apply_filters(
            batch, self._filters, self._plan.settings.quality, Measurements(lengths, repetition)
        )

    def _huge(self, record: Record, lengths: TokenCounts) -> bool:
        longest = self._plan.settings.quality.of(MostTokens).max_tokens
        return len(record.text) > 4 * _BATCH_CHARACTERS and bool(
            lengths.tokens.get(place(record), 0) > longest
        )

    def _keep(
        self,
        writer: PartWriter,
        batch: Sequence[Record],
        words: TurnWords,
        lengths: TokenCounts,
        replay: bool,
    ) -> None:
        answers = words.answers(batch)
        kinds = np.array([KINDS.index(record.kind) for record in batch], dtype=np.int8)
        keys = b"".join(duplicates.content_key(record) for record in batch)
        times = [splits.time_split(record, self._plan.settings.splits) for record in batch]
        shingles = duplicates.shingles(words.records)
        writer.keep(
            [record.id for record in batch],
            [orjson.dumps(record.row(), option=orjson.OPT_APPEND_NEWLINE) for record in batch],
            {
                "line": np.array([record.line for record in batch], dtype=np.int64),
                "keys": np.frombuffer(keys, dtype=np.uint64).reshape(-1, 2),
                "position": np.array(
                    [splits.split_position(splits.group_key(r)) for r in batch], np.float64
                ),
                "bands": duplicates.bands(shingles),
                "structure": np.array([duplicates.structure_hash(r) for r in batch], np.uint32),
                "identity": np.array([splits.split_position(r.id) for r in batch], np.float64),
                "tokens": np.array([lengths.tokens[place(r)] for r in batch], dtype=np.int32),
                "time_split": np.array(times, dtype=np.int8),
                "answer": answers.spans(answers.starts[:-1], answers.starts[1:]),
                "kind": kinds,
                "replay": np.full(len(batch), replay),
            },
            {
                "shingles": shingles,
                "words": duplicates.single_words(words.records),
                "answers": duplicates.single_words(
                    _of_chats(answers, kinds == KINDS.index("chat"))
                ),
            },
            self._index.match(batch, words),
            self._index.count_words(words),
        )


class WordCache:
    """The words of a batch, hashed once for all steps."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.words = TurnWords.of(records)

    def of(self, records: Sequence[Record]) -> TurnWords:
        """The words of those of the records that are left; of changed ones as they are now."""
        number = {id(record): at for at, record in enumerate(self.records)}
        which = [number.get(id(record)) for record in records]
        known = [at for at in which if at is not None]
        if len(known) < len(which):
            return TurnWords.of(records)
        return self.words.take(np.array(known, dtype=np.int64))


def _readable(batch: Sequence[Record | BadLine], settings: Splits) -> FilterResult:
    """The records among the lines."""
    good: list[Record] = []
    dropped: list[Dropped] = []
    for item in batch:
        if isinstance(item, BadLine):
            dropped.append(drop_line(item, READ))
        elif evidence := splits.undated(item, settings):
            dropped.append(drop(item, READ, splits.UNDATED, evidence))
        else:
            good.append(item)
    return good, dropped


def _batches(items: Iterator[Record | BadLine]) -> Iterator[list[Record | BadLine]]:
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


def _of_chats(answers: Words, chats: npt.NDArray[np.bool_]) -> Words:
    """The words of the chats' answers; a text is no answer."""
    lengths = np.diff(answers.starts)
    starts = np.concatenate(([0], np.cumsum(np.where(chats, lengths, 0))))
    return Words(answers.hashes[np.repeat(chats, lengths)], starts)
