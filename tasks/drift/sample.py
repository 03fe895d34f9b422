"""Prompts as they are counted, and a random but repeatable order of texts."""

import hashlib

from tasks.records import Record


def compared_text(record: Record) -> str:
    """What of a record is compared: its prompt, with every run of white space as one space."""
    return " ".join(record.prompt.split())


def text_hash(text: str, seed: int) -> bytes:
    """The place of a text in a random but repeatable order."""
    data = f"{seed}:{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).digest()
