"""The ledger: what was dropped, where, why, and by which evidence."""

from dataclasses import dataclass
from typing import Any, TypeAlias

from tasks.records import BadLine, Record

Evidence: TypeAlias = dict[str, Any]
"""JSON-able figures and words behind a decision."""

Place: TypeAlias = tuple[str, int]
"""Source and line: what a record is known by in here, since ids of two files may clash."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """One line of the ledger. `text` is what the report shows of the record; it is not written."""

    id: str | None
    source: str
    line: int
    step: str
    reason: str
    evidence: Evidence
    text: str

    def row(self) -> dict[str, Any]:
        """The line as it is written."""
        return {
            "id": self.id,
            "source": self.source,
            "line": self.line,
            "step": self.step,
            "reason": self.reason,
            "evidence": self.evidence,
        }


FilterResult: TypeAlias = tuple[list[Record], list[Dropped]]
"""What every step returns: the records that go on, in the order they came, and the others."""


def drop(record: Record, step: str, reason: str, evidence: Evidence) -> Dropped:
    """Enter a record into the ledger."""
    return Dropped(
        record.id, record.source, record.line, step, reason, evidence, record.text[:1000]
    )


def drop_line(line: BadLine, step: str) -> Dropped:
    """Enter a line that is no record into the ledger."""
    evidence = {"detail": line.detail, "excerpt": line.excerpt}
    return Dropped(None, line.source, line.line, step, line.reason, evidence, line.excerpt)


def place(record: Record) -> Place:
    """What the record is known by among the inputs of this run: no two records share it."""
    return record.source, record.line
