"""An order that looks random and is equal everywhere: by the hash of a name.

Samples and splits that must not depend on the order of the input, on a machine or on a version of
Python take the first of these, or compare them with a share.
"""

import hashlib


def hashed(*parts: object) -> bytes:
    """16 bytes that stand for these values; different purposes give different first parts."""
    text = "\0".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def hashed_share(*parts: object) -> float:
    """A number in [0, 1), evenly distributed over names."""
    return int.from_bytes(hashed(*parts)[:8], "big") / 2**64
