"""Which rows are compared: the distinct prompts of a file, drawn down by hash."""

import hashlib
from collections.abc import Iterable

from tasks.records import Record


def compared_text(record: Record) -> str:
    """What of a record is compared: its prompt, with every run of white space as one space."""
    return " ".join(record.prompt.split())


def draw(records: Iterable[Record], limit: int, seed: int) -> list[Record]:
    """At most `limit` records with distinct, non-empty prompts, in an order of their own.

    The permutation test takes rows as independent draws. Retries, polling clients and popular
    prompts are not; and a reference from curated data has lost its duplicates while traffic keeps
    them. So both sides are compared as sets of distinct prompts. (A flood of one known prompt is
    therefore no drift: count requests to see it.)

    The draw goes by a seeded hash of the prompt, so the order of rows and files has no influence,
    and of two copies the one with the smaller id stays.
    """
    distinct: dict[str, Record] = {}
    for record in records:
        text = compared_text(record)
        if not text:
            continue
        kept = distinct.setdefault(text, record)
        if _place(record) < _place(kept):
            distinct[text] = record
    order = sorted(distinct, key=lambda text: text_hash(text, seed))
    return [distinct[text] for text in order[:limit]]


def text_hash(text: str, seed: int) -> bytes:
    """The place of a text in a random but repeatable order."""
    data = f"{seed}:{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).digest()


def _place(record: Record) -> tuple[str, str, int]:
    return record.id, record.source, record.line
