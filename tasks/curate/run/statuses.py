"""What has become of each record: in a split, dropped for a reason, or not decided yet."""

import logging
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.curate.ledger import Evidence
from tasks.curate.steps.duplicates.sets import Numbers
from tasks.curate.steps.splits.splits import SPLITS, Split
from tasks.curate.text.ngrams import Positions

log = logging.getLogger(__name__)


@unique
class RecordStatus(IntEnum):
    """What has become of a record that reached the steps over all records.

    The numbers are what `Statuses.status` holds; those of the splits are their indices in `SPLITS`.
    Of a member that drops records, the name in lower case is the ledger's reason.
    """

    TRAIN = 0
    VALIDATION = 1
    TEST = 2
    UNDECIDED = 3
    DUPLICATE = 4
    NEAR_DUPLICATE = 5
    CONTAMINATED = 6
    LEAKS_SPLIT = 7
    REPLAY_SURPLUS = 8

    @property
    def split(self) -> Split | None:
        """The split that the record is in; None: it is in none."""
        return SPLITS[self] if self < len(SPLITS) else None

    @property
    def reason(self) -> str | None:
        """The reason for which the record was dropped; None: it was not."""
        kept = self.split is not None or self is RecordStatus.UNDECIDED
        return None if kept else self.name.lower()


_DROPS = np.array([status.reason is not None for status in RecordStatus])


@dataclass(slots=True)
class Statuses:
    """The status of each record, and what is behind it.

    Attributes:
        status: (records,) numbers of `RecordStatus`.
        kept: (records,) number of the record that stays in place of a duplicate; else its own.
        similarity: (records,) of a duplicate to that record.
        template_shingles: word 5-grams of the templates that records fill, sorted.
        evidence: of contaminated and leaking records.
        funnel: title of each step, records before and after it.
    """

    status: npt.NDArray[np.int8]
    kept: Positions
    similarity: npt.NDArray[np.float32]
    template_shingles: Numbers = field(default_factory=lambda: np.empty(0, np.uint32))
    evidence: dict[int, Evidence] = field(default_factory=dict)
    funnel: list[tuple[str, int, int]] = field(default_factory=list)

    @classmethod
    def undecided(cls, count: int) -> "Statuses":
        """Those of `count` records, none of which is decided."""
        return cls(
            np.full(count, RecordStatus.UNDECIDED, np.int8),
            np.arange(count),
            np.ones(count, np.float32),
        )

    def remaining(self) -> Positions:
        """Numbers of the records that no step has dropped so far, ascending."""
        return np.flatnonzero(~_DROPS[self.status])

    def dropped(self) -> Positions:
        """Numbers of the records that a step has dropped, ascending."""
        return np.flatnonzero(_DROPS[self.status])

    def having(self, status: RecordStatus) -> Positions:
        """Numbers of the records of this status, ascending."""
        return np.flatnonzero(self.status == status)

    def set(self, numbers: Any, status: RecordStatus) -> None:
        """Enter the status of these records."""
        self.status[numbers] = status

    def enter_step(self, title: str, before: int) -> None:
        """Enter a step into the funnel: of `before` records those that remain went on."""
        after = len(self.remaining())
        self.funnel.append((title, before, after))
        log.info("%s: %d of %d records go on", title, after, before)
