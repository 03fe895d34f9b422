"""The ledger: which records were dropped, where, why, and by which evidence."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from tasks.records import BadLine, Record

Evidence: TypeAlias = dict[str, Any]
"""JSON-able figures and words behind a decision."""

Place: TypeAlias = tuple[str, int]
"""Source and line, which identify a record in one run: ids of two files may clash."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why records are dropped, for the ledger, the report, the data card and the documentation.

    Attributes:
        name: as the ledger has it.
        meaning: a sentence.
        evidence: keys of the ledger's evidence, each with what it holds.
        keys: settings that decide it, as `curate.quality.max_tokens`; the first is named to users.
        remedy: a sentence: what to do where it is wrong; empty: nothing but the settings.
    """

    name: str
    meaning: str
    evidence: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def setting(self) -> str | None:
        """The setting to name to users; None: no setting decides it."""
        return self.keys[0] if self.keys else None


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


FilterResult: TypeAlias = "tuple[list[Record], list[Dropped]]"
"""The records that stay, in the order they came, and the others."""


def drop(record: "Record", step: str, reason: str, evidence: Evidence) -> Dropped:
    """Enter a record into the ledger."""
    return Dropped(
        record.id, record.source, record.line, step, reason, evidence, record.text[:1000]
    )


def drop_line(line: "BadLine", step: str) -> Dropped:
    """Enter a line that is no record into the ledger."""
    evidence = {"detail": line.detail, "excerpt": line.excerpt}
    return Dropped(None, line.source, line.line, step, line.reason, evidence, line.excerpt)


def place(record: "Record") -> Place:
    """What the record is known by among the inputs of this run: no two records share it."""
    return record.source, record.line
