"""Which rows belong together: the units that the test permutes.

Rows of one session, user, document or of one client that tries again are not independent. A unit is
a group of rows of one side: those with one `group`, else with one id of a user, session or
conversation in `meta`, else a cluster of near-duplicates. Units are permuted as wholes (Winkler et
al. 2015, "Multi-level block permutation").
"""

import re
from collections import Counter
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from tasks.drift.rows import Row
from tasks.drift.sample import text_hash

Ints = NDArray[np.int64]

META_KEYS = (
    "user", "user_id", "session", "session_id", "conversation", "conversation_id", "thread_id",
)  # fmt: skip
"""Keys of `meta` that say which rows belong together, the widest first."""
FEWEST_COPIES = 10
"""Copies of one request that count as one unit at least; more only where the window is large."""
SHARE_OF_COPIES = 0.01

_WORD = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+")


def copies_in_a_unit(reference: int, current: int) -> int:
    """How many copies of one request one unit holds at most.

    A client that tries again, or polls, sends copies: they are one unit. But copies that make up
    much of the traffic are the traffic, however they came about. So a cluster is one unit up to ten
    rows or one hundredth of the smaller side, and what is more becomes further units.
    """
    return max(FEWEST_COPIES, int(np.ceil(SHARE_OF_COPIES * min(reference, current))))


def request_key(row: Row) -> str:
    """Equal for near copies of a request: case, layout, punctuation and numbers do not count."""
    if row.earlier:
        return _key(row.conversation) + "\n" + _key(row.prompt)
    return _key(row.prompt)


def group_of(row: Row) -> str | None:
    """The group that the record itself names."""
    if row.record.group is not None:
        return f"group {row.record.group}"
    for key in META_KEYS:
        value = row.record.meta.get(key)
        if isinstance(value, str | int) and value != "":
            return f"{key} {value}"
    return None


def units(rows: Sequence[Row], is_current: NDArray[np.bool_]) -> Ints:
    """The unit of each row, numbered in the order of their first rows.

    Args:
        rows: the rows of both sides, in an order that does not depend on their side.
        is_current: the side of each row.
    """
    limit = copies_in_a_unit(int((~is_current).sum()), int(is_current.sum()))
    keys = [request_key(row) for row in rows]
    clusters = near_copies(keys)
    numbers: dict[tuple[bool, str, int], int] = {}
    seen: dict[tuple[bool, str], int] = {}
    found = np.empty(len(rows), dtype=np.int64)
    for place, row in enumerate(rows):
        side = bool(is_current[place])
        copies = f"copies {clusters[keys[place]]}"
        group = group_of(row) or copies
        within = (side, f"{group}\n{copies}")
        seen[within] = count = seen.get(within, 0) + 1
        # Within a group, too, copies beyond the limit are units of their own.
        part = (count - 1) // limit
        unit = (side, within[1] if part else group, part)
        found[place] = numbers.setdefault(unit, len(numbers))
    return found


def at_most(rows: Sequence[Row], limit: int, seed: int) -> list[Row]:
    """Whole groups in a random but repeatable order, up to `limit` rows; of the last one a part.

    Memory and time of a comparison are bounded by it.
    """
    if len(rows) <= limit:
        return [*rows]
    names = [group_of(row) or request_key(row) for row in rows]
    places = {name: text_hash(name, seed) for name in set(names)}
    order = sorted(range(len(rows)), key=lambda row: (places[names[row]], rows[row].order(seed)))
    return [rows[row] for row in order[:limit]]


def near_copies(keys: Sequence[str]) -> dict[str, str]:
    """The cluster of each key, named by one of its keys.

    Keys are near copies where their rare words agree to a Jaccard similarity of 0.7. Frequent words
    do not count (they may be a template's), and keys of fewer than three rare words are copies only
    of their equals. Candidates come from MinHash with banding (Broder 1997; Leskovec, Rajaraman &
    Ullman, "Mining of Massive Datasets", section 3.4).
    """
    words = {key: frozenset(key.split()) for key in sorted(set(keys))}
    counts = Counter(word for found in words.values() for word in found)
    most = max(_FREQUENT * len(words), _RARE)
    rare = {key: {word for word in found if counts[word] <= most} for key, found in words.items()}
    leader = {key: key for key in words}
    buckets: dict[tuple[int, bytes], str] = {}
    for key, found in rare.items():
        if len(found) < _FEWEST_WORDS:
            continue
        hashes = np.array([crc32(word.encode("utf-8", "replace")) for word in found], np.uint64)
        least = ((hashes[:, None] * _FACTORS + _SHIFTS) % _PRIME).min(axis=0).reshape(_BANDS, -1)
        for band, values in enumerate(least):
            other = buckets.setdefault((band, values.tobytes()), key)
            if other != key and _alike(found, rare[other]):
                _join(leader, key, other)
    return {key: _leader(leader, key) for key in words}


_FREQUENT, _RARE = 0.05, 12
_FEWEST_WORDS = 3
_SIMILAR = 0.7
_BANDS = 8
_PRIME = np.uint64(2**31 - 1)
_FACTORS, _SHIFTS = np.random.default_rng(1).integers(1, 2**31 - 1, (2, 3 * _BANDS), np.uint64)


def _alike(one: set[str], other: set[str]) -> bool:
    shared = len(one & other)
    return shared >= _SIMILAR * (len(one) + len(other) - shared)


def _leader(leader: dict[str, str], key: str) -> str:
    while leader[key] != key:
        leader[key] = key = leader[leader[key]]
    return key


def _join(leader: dict[str, str], one: str, other: str) -> None:
    first, second = sorted((_leader(leader, one), _leader(leader, other)))
    leader[second] = first


def _key(text: str) -> str:
    words = _WORD.findall(_DIGITS.sub("", text.casefold()))
    return " ".join(words) or text.strip()
