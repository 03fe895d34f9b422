"""The newest traffic that people have labelled, as a benchmark that no gate looks at.

It shows how the systems do on what users ask now. No gate depends on it: a window is whatever came
in, and part of it may become training data later.
"""

from collections.abc import Iterable
from pathlib import Path

from tasks import records
from tasks.core import files
from tasks.evaluate.words import asked
from tasks.records import Record

FEWEST = 10
"""Records below which a window is not measured."""


def unseen(window: Path, seen: Iterable[Path], out: Path) -> Path | None:
    """Write the labelled records of a window whose prompt is in no other file.

    Args:
        window: a file of traffic.
        seen: what the candidate was trained or is judged on.
        out: the file to write.

    Returns:
        `out`; None where fewer than `FEWEST` records are left.

    Raises:
        BadInput: a file cannot be read.
    """
    known = {_question(record) for path in seen for record in _records(path)}
    rows = []
    for record in _records(window):
        if record.target and _question(record) not in known:
            known.add(_question(record))
            rows.append(record.row())
    if len(rows) < FEWEST:
        return None
    files.write_jsonl(out, rows)
    return out


def _records(path: Path) -> Iterable[Record]:
    return (
        record
        for record in records.read(path, labelled=False)
        if not isinstance(record, records.BadLine)
    )


def _question(record: Record) -> str:
    """The prompt in the form in which two are the same."""
    return " ".join(asked(record).split()).casefold()
