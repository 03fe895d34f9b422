"""Quality: a record says something, in a fitting length and language."""

from collections.abc import Sequence

import numpy as np

from tasks.curate.ledger import FilterResult, Reason, place
from tasks.curate.run.shards import Columns
from tasks.curate.step import Batch, KeptBatch, Step, StepWorker, WordCache, WorkerConfig
from tasks.curate.steps.quality.filtering import (
    STEP,
    active_filters,
    apply_filters,
    ordered_filters,
)
from tasks.curate.steps.quality.filters.token_count import FewestTokens, MostTokens
from tasks.curate.steps.quality.measurements import Measurements
from tasks.curate.steps.quality.token_counts import TokenCounter, TokenCounts
from tasks.curate.text.ngrams import repeated_share
from tasks.model import tokens
from tasks.records import Record

_HUGE = 2**20
"""Characters of a record that is not looked at closer where it has too many tokens."""


class Quality(Step):
    """The filters of the registry, in their order."""

    name = title = STEP
    summary = "Filters drop records that teach nothing, or cannot be given to the base model."
    gives = ("tokens", "answer")

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """One of each filter."""
        return tuple(member.reason for member in ordered_filters())

    def start(self, config: WorkerConfig) -> StepWorker:
        """Its part in a worker.

        Raises:
            BadInput: the settings of a filter name something that there is not.
        """
        return _QualityFilters(config)


class _QualityFilters(StepWorker):
    def __init__(self, config: WorkerConfig) -> None:
        super().__init__()
        self._settings = config.settings.quality
        self._filters = active_filters(self._settings)
        self._longest = self._settings.of(MostTokens).max_tokens
        bounds = (self._settings.of(FewestTokens).min_tokens, self._longest)
        self._counter = TokenCounter(tokens.load(config.tokenizer), *bounds)

    def filter(self, batch: Batch) -> FilterResult:
        batch.counts = self._counter.measure(batch.records)
        # What is too long by far is not worth the memory of looking closer.
        worth = [record for record in batch.records if not self._is_huge(record, batch.counts)]
        batch.cache = WordCache(worth)
        measured = Measurements(batch.counts, _repeated(worth, batch.cache))
        return apply_filters(batch.records, self._filters, self._settings, measured)

    def columns(self, kept: KeptBatch) -> Columns:
        counts = [kept.counts.tokens[place(record)] for record in kept.records]
        answers = kept.answers
        return Columns(
            arrays={
                "tokens": np.array(counts, dtype=np.int32),
                "answer": answers.spans(answers.starts[:-1], answers.starts[1:]),
            }
        )

    def _is_huge(self, record: Record, counts: TokenCounts) -> bool:
        tokens_of = counts.tokens.get(place(record), 0)
        return len(record.text) > _HUGE and tokens_of > self._longest


def _repeated(records: Sequence[Record], cache: WordCache) -> dict[tuple[str, int], float]:
    """For records whose last answer repeats 5-grams of its own: the share of such words."""
    shares = repeated_share(cache.words.answers(records)).tolist()
    return {place(record): share for record, share in zip(records, shares, strict=True) if share}
