"""Duplicates: of records that say the same, the one with the smallest id stays.

Exact on normalised text. Near-duplicates are to be found here too: candidates by MinHash, then the
same ledger line with the similarity in its evidence.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from tasks.curate.ledger import Sieved, drop, place
from tasks.curate.normalise import comparable
from tasks.records import Record

STEP = "deduplicate"


def drop_duplicates(records: Sequence[Record]) -> Sieved:
    """Keep one record of each content: the smallest id, then the first place."""
    first: dict[bytes, Record] = {}
    keys = [_key(record.content) for record in records]
    by_id = sorted(range(len(records)), key=lambda i: (records[i].id, place(records[i])))
    for index in by_id:
        first.setdefault(keys[index], records[index])
    kept, dropped = [], []
    for key, record in zip(keys, records, strict=True):
        stays = first[key]
        if record is stays:
            kept.append(record)
        else:
            evidence = {
                "kept_id": stays.id,
                "kept_source": stays.source,
                "kept_line": stays.line,
                "similarity": 1.0,
            }
            dropped.append(drop(record, STEP, "duplicate", evidence))
    return kept, dropped


def _key(content: dict[str, Any]) -> bytes:
    """Equal for contents that say the same in the same roles (tool calls and names included)."""
    if "messages" in content:
        same: Any = [m | {"content": comparable(m["content"])} for m in content["messages"]]
    else:
        same = {name: comparable(text) for name, text in content.items()}
    text = orjson.dumps(same, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).digest()
