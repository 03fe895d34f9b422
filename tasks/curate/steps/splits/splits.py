"""Split: the hash of a group decides where all its records go, for good.

Adding data moves no old record. Where a boundary in time is set, groups from then on go by it.
"""

import hashlib
import math
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tasks.core.errors import BadInput
from tasks.curate.ledger import Evidence
from tasks.curate.settings import Splits
from tasks.records import Record

STEP = "split"
UNDATED = "unreadable_timestamp"

Split: TypeAlias = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)

_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""Numbers of seconds from 1e11 on are later than the year 5000: they count milliseconds; and so on,
micro- and nanoseconds."""


def group_key(record: Record) -> str:
    """What keeps records together: the group, or the id where there is none."""
    return record.id if record.group is None else record.group


def split_position(name: str) -> float:
    """The position of a group in [0, 1): evenly spread, and the same for ever."""
    # Records stay in their splits as long as this hash stays (`core.order` has another).
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def time_split(record: Record, settings: Splits) -> int:
    """`VALIDATION` or `TEST` for a record from that boundary in time on, else `TRAIN`."""
    seconds = parse_timestamp(record.timestamp)
    if seconds is None:
        return TRAIN
    for split, boundary in ((TEST, settings.test_from), (VALIDATION, settings.validation_from)):
        begins = parse_timestamp(boundary)
        if begins is not None and seconds >= begins:
            return split
    return TRAIN


def undated(record: Record, settings: Splits) -> Evidence | None:
    """Evidence for a record whose time cannot be read though a boundary in time is set."""
    if settings.validation_from is None and settings.test_from is None:
        return None
    if record.timestamp is None or parse_timestamp(record.timestamp) is not None:
        return None
    return {"timestamp": str(record.timestamp)[:100]}


def parse_timestamp(timestamp: str | float | None) -> float | None:
    """Seconds since 1970 of an ISO 8601 text (UTC unless it says otherwise) or a number of seconds,
    milli-, micro- or nanoseconds; None for what is neither."""
    if timestamp is None:
        return None
    if isinstance(timestamp, str):
        try:
            time = datetime.fromisoformat(timestamp)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            pass
        try:
            timestamp = float(timestamp)  # as CSV has numbers
        except ValueError:
            return None
    if not math.isfinite(timestamp):
        return None
    unit = next((unit for least, unit in _UNITS if abs(timestamp) >= least), 1)
    return timestamp / unit


def assign_splits(
    positions: npt.NDArray[np.float64], times: npt.NDArray[np.int8], settings: Splits
) -> npt.NDArray[np.int8]:
    """The split of each record.

    A group goes where its latest record belongs in time, or else by its position. Where this leaves
    validation (or training) without any group, because there are few, the group whose position is
    nearest moves there, until more data brings another.

    Args:
        positions: (records,) `split_position` of each record's group, which stands for the group.
        times: (records,) `time_split` of each record.
        settings: shares and boundaries.

    Returns:
        (records,) `TRAIN`, `VALIDATION` or `TEST`.

    Raises:
        BadInput: there are fewer than two groups, so nothing is left to validate on.
    """
    groups, group = np.unique(positions, return_inverse=True)
    if len(groups) < 2:
        raise BadInput(
            "curate: no validation set is possible, since all records kept belong to one group: "
            "add records, or give them `group` values (or none) that keep only together what must "
            "not be separated"
        )
    found = np.full(len(groups), TRAIN, dtype=np.int8)
    found[groups < settings.validation_share + settings.test_share] = TEST
    found[groups < settings.validation_share] = VALIDATION
    latest = np.zeros(len(groups), dtype=np.int8)
    np.maximum.at(latest, group, times)
    found = np.where(latest > TRAIN, latest, found)
    if not (found == VALIDATION).any():
        found[0] = VALIDATION
    if not (found == TRAIN).any():
        found[-1] = TRAIN
    return found[group]
