"""Search one file for benchmark records, outside of a curation."""

from collections.abc import Sequence
from pathlib import Path

from tasks import records
from tasks.core.values import Value
from tasks.curate.settings import Curate
from tasks.curate.steps.contamination.benchmarks import read_benchmarks
from tasks.curate.steps.contamination.contamination import ContaminationIndex
from tasks.curate.steps.contamination.overlaps import Overlap
from tasks.curate.text.turn_texts import TurnWords

_AT_ONCE = 1000


class Leak(Value):
    """A record that contains a benchmark record."""

    line: int
    """Of the searched file."""
    benchmark: str
    """The benchmark's file."""
    benchmark_id: str
    text: str
    """The longest match in the record's own words."""


class ContaminationSearch(Value):
    """What was searched, and what was found."""

    records: int
    leaks: tuple[Leak, ...]


def find_contamination(
    path: Path, benchmarks: Sequence[str], settings: Curate
) -> ContaminationSearch:
    """The records of `path` that contain a benchmark record, as curation decides it.

    What curation keeps, this finds nothing in, and memory grows with the records' number.

    Args:
        path: a file of training records.
        benchmarks: files, folders and globs, as `curate.benchmarks`.
        settings: `contamination` says what counts, and `privacy` what is masked.

    Raises:
        BadInput: a benchmark is missing or empty, or a line of `path` is no record.
    """
    index = ContaminationIndex(read_benchmarks(benchmarks, settings), settings.contamination)
    found = records.load([path])
    overlaps: dict[int, list[Overlap]] = {}
    counts = index.count_words(TurnWords.of([]))
    for begin in range(0, len(found), _AT_ONCE):
        batch = found[begin : begin + _AT_ONCE]
        words = TurnWords.of(batch)
        counts += index.count_words(words)
        matches = index.match(batch, words)
        overlaps |= {begin + number: matched for number, matched in matches.items()}
    leaks = []
    for number, contamination in sorted(index.decide(overlaps, counts).items()):
        evidence = index.evidence(found[number], contamination)
        leaks.append(
            Leak(
                line=found[number].line,
                benchmark=str(evidence["benchmark"]),
                benchmark_id=str(evidence["benchmark_id"]),
                text=str(evidence["text"]),
            )
        )
    return ContaminationSearch(records=len(found), leaks=tuple(leaks))
