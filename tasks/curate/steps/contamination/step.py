"""Decontaminate: a record does not contain a benchmark record."""

import logging
from collections import Counter

import numpy as np

from tasks.curate.ledger import Reason
from tasks.curate.run.shards import Columns
from tasks.curate.run.statuses import RecordStatus
from tasks.curate.step import GlobalRun, GlobalStep, KeptBatch, StepWorker, WorkerConfig
from tasks.curate.steps.contamination.benchmarks import read_benchmarks
from tasks.curate.steps.contamination.contamination import ContaminationIndex
from tasks.curate.steps.contamination.overlaps import Overlap
from tasks.rendering.markdown import visible

log = logging.getLogger(__name__)


class Decontaminate(GlobalStep):
    """Records that contain a benchmark record are dropped."""

    name = title = "decontaminate"
    summary = "Records that contain a record of a benchmark are dropped."
    gives = ("overlaps", "document_counts")
    needs = ("overlaps", "document_counts")

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """That a benchmark record is in the record."""
        return (
            Reason(
                "contaminated",
                "The record contains a benchmark record.",
                (
                    ("benchmark", "the benchmark's file"),
                    ("benchmark_id", "the benchmark record"),
                    ("benchmark_line", "its line"),
                    ("part", "what of it was found: prompt, question, answer, record, …"),
                    ("overlap", "share of that part, from 0 to 1"),
                    ("ngram", "words of the n-grams by which it was found"),
                    ("bits", "how much the match is worth: -log2 of how common its words are"),
                    ("rare_words", "the words that decided"),
                    ("setting", "the setting that decided"),
                    ("text", "the longest match in the record's own words"),
                    ("benchmark_text", "the benchmark's passage"),
                    ("place", "where it was found, if not in what the turns say"),
                    ("records", "how many records share that text"),
                ),
                (
                    "curate.contamination.max_overlap",
                    "curate.contamination.max_paraphrase",
                    "curate.contamination.min_information",
                ),
                "Compare the two texts (docs/reference/why-dropped.md).",
            ),
        )

    def start(self, config: WorkerConfig) -> StepWorker:
        """Its part in a worker."""
        benchmarks = read_benchmarks(config.benchmarks, config.settings)
        return _Matches(ContaminationIndex(benchmarks, config.settings.contamination))

    def decide(self, run: GlobalRun) -> None:
        """Drop what contains too much; a text that many records share is logged once."""
        index = ContaminationIndex(run.benchmarks, run.settings.contamination)
        found = index.decide(_overlaps(run), run.shards.total_of("document_counts"))
        sharing = Counter(contamination.overlap.origin for contamination in found.values())
        logged = {0}
        for number, record in run.shards.records(np.array(sorted(found), dtype=np.int64)):
            origin = found[number].overlap.origin
            count = sharing[origin] if origin else 1
            evidence = index.evidence(record, found[number], count)
            run.statuses.evidence[number] = evidence
            if count > 1 and origin not in logged:
                logged.add(origin)
                log.warning(
                    "%d records have the same %s, which contains a benchmark record (%s:%d): take "
                    "that out of it, or all of them are dropped",
                    count,
                    evidence["place"],
                    visible(evidence["benchmark"]),
                    evidence["benchmark_line"],
                )
        run.statuses.set(sorted(found), RecordStatus.CONTAMINATED)


class _Matches(StepWorker):
    def __init__(self, index: ContaminationIndex) -> None:
        super().__init__()
        self._index = index

    def columns(self, kept: KeptBatch) -> Columns:
        matches = self._index.match(kept.records, kept.words)
        return Columns(
            notes={
                "overlaps": {
                    number: [overlap.row() for overlap in overlaps]
                    for number, overlaps in matches.items()
                }
            },
            totals={"document_counts": self._index.count_words(kept.words)},
        )


def _overlaps(run: GlobalRun) -> dict[int, list[Overlap]]:
    """What the remaining records have of benchmarks, by number."""
    status = run.statuses.status
    return {
        number: [Overlap.of_row(row) for row in rows]
        for shard in run.shards
        for number, rows in shard.notes("overlaps").items()
        if status[number] == RecordStatus.UNDECIDED
    }
