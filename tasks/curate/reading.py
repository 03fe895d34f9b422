"""Read: lines become records; a line that is none goes into the ledger."""

import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from tasks import records
from tasks.curate.ledger import Dropped, Sieved, drop_line
from tasks.errors import BadInput
from tasks.records import BadLine, Record

STEP = "read"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Held-out records of one file; `unreadable` counts its lines that are no record."""

    path: str
    records: list[Record]
    unreadable: int


def read_inputs(specs: Iterable[str]) -> Sieved:
    """Records of all inputs, in the order of their files' names, and their bad lines.

    Raises:
        BadInput: an input is missing or empty, or none of its lines is a record.
    """
    kept: list[Record] = []
    dropped: list[Dropped] = []
    for path in _files(specs):
        good, bad = _read(path, labelled=True)
        kept += good
        dropped += [drop_line(line, STEP) for line in bad]
    return kept, dropped


def read_benchmarks(specs: Iterable[str]) -> list[Benchmark]:
    """Records of all benchmarks; an answer is not needed, the question alone can leak.

    Raises:
        BadInput: a benchmark is missing or empty, or none of its lines is a record.
    """
    benchmarks = []
    for path in _files(specs):
        good, bad = _read(path, labelled=False)
        if bad:
            log.warning("%s: %d lines are no records and guard nothing", path, len(bad))
        benchmarks.append(Benchmark(str(path), good, len(bad)))
    return benchmarks


def _files(specs: Iterable[str]) -> list[Path]:
    return sorted(records.expand(specs), key=str)


def _read(path: Path, labelled: bool) -> tuple[list[Record], list[BadLine]]:
    good: list[Record] = []
    bad: list[BadLine] = []
    lines = records.read(path, labelled=labelled)
    for item in tqdm(lines, f"read {path.name}", unit=" records", disable=None, file=sys.stderr):
        if isinstance(item, BadLine):
            bad.append(item)
        else:
            good.append(item)
    if not good:
        first = bad[0]
        raise BadInput(
            f"{path}:{first.line}: {first.reason}: {first.detail}; none of the file's {len(bad)} "
            "lines is a record: mend the file or take it out"
        )
    return good, bad
