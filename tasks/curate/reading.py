"""Read: inputs are cut into chunks for the workers, benchmarks are read whole."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks import records
from tasks.curate import personal_data
from tasks.errors import BadInput
from tasks.markdown import visible
from tasks.records import BadLine, Chunk, Record
from tasks.settings import Curate

STEP = "read"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Held-out records of one file; `unreadable` counts its lines that are no record."""

    path: str
    records: list[Record]
    unreadable: int


def input_chunks(paths: Sequence[Path]) -> list[Chunk]:
    """The chunks of all these files, in order.

    Raises:
        BadInput: an input is missing, or all of them are empty.
    """
    found: list[Chunk] = []
    for path in paths:
        of_file = records.chunks(path)
        if not of_file:
            log.warning("%s: is empty", visible(str(path)))
        found += of_file
    if not found:
        raise BadInput(f"{paths[0]}: holds no record; remove it from the inputs or fill it")
    return found


def read_benchmarks(specs: Sequence[str], settings: Curate) -> list[Benchmark]:
    """Records of all benchmarks; an answer is not needed, the question alone can leak.

    What is masked in training records is masked here, so that both still compare.

    Raises:
        BadInput: a benchmark is missing or empty, or none of its lines is a record.
    """
    benchmarks = []
    for path in sorted(records.expand(specs), key=str):
        good: list[Record] = []
        bad: list[BadLine] = []
        for item in records.read(path, labelled=False, max_line_bytes=settings.max_line_bytes):
            if isinstance(item, Record):
                good.append(personal_data.masked(item, settings.personal_data))
            else:
                bad.append(item)
        if not good:
            raise BadInput(no_record(bad[0], len(bad)))
        if bad:
            log.warning(
                "%s: %d lines are no records and guard nothing", visible(str(path)), len(bad)
            )
        benchmarks.append(Benchmark(str(path), good, len(bad)))
    return benchmarks


def no_record(first: BadLine, count: int) -> str:
    """What to say of a file of which no line is a record."""
    return (
        f"{first.source}:{first.line}: {first.reason}: {first.detail}; none of the file's {count} "
        "lines is a record: mend the file or take it out"
    )
