"""Split: the hash of a group decides where all its records go, for good."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from tasks.errors import BadInput
from tasks.records import Record
from tasks.settings import Curate

Split: TypeAlias = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def split(records: Sequence[Record], settings: Curate) -> dict[Split, list[Record]]:
    """Give every record to one split by its group, or by its id where it has none.

    Groups never straddle, and adding data does not move an old group, with one exception: where
    the shares leave validation (or training) without any group, because there are few, the group
    whose hash is nearest moves there, until more data brings another.

    Raises:
        BadInput: all records belong to one group, so nothing is left to validate on.
    """
    homes = assign({key(record) for record in records}, settings)
    parts: dict[Split, list[Record]] = {name: [] for name in SPLITS}
    for record in records:
        parts[homes[key(record)]].append(record)
    return parts


def key(record: Record) -> str:
    """What keeps records together."""
    return record.id if record.group is None else record.group


def assign(keys: Iterable[str], settings: Curate) -> dict[str, Split]:
    """The split of each group.

    Raises:
        BadInput: there are fewer than two groups.
    """
    ranked = sorted(keys, key=lambda name: (position(name), name))
    if len(ranked) < 2:
        raise BadInput(
            "curate: no validation set is possible, since all records kept belong to one group"
            + (f" ({ranked[0]!r})" if ranked else "")
            + ": add records, or give them `group` values (or none) that keep only together "
            "what must not be separated"
        )
    homes = {name: _home(position(name), settings) for name in ranked}
    if "validation" not in homes.values():
        homes[ranked[0]] = "validation"
    if "train" not in homes.values():
        homes[ranked[-1]] = "train"
    return homes


def position(name: str) -> float:
    """Where a group stands between 0 and 1: evenly spread, and the same for ever."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _home(position: float, settings: Curate) -> Split:
    if position < settings.validation_share:
        return "validation"
    if position < settings.validation_share + settings.test_share:
        return "test"
    return "train"
