"""A part of a file that can be read on its own, so that several workers share a file."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a file.

    Of plain local JSON Lines: `size` bytes from byte `start`, whole lines, the first of which has
    the number `first_line`. Of Parquet: `size` row groups from row group `start`. Of any other
    kind of file the whole: `start` 0, `size` -1.
    """

    path: str
    first_line: int
    start: int
    size: int

    @classmethod
    def whole(cls, path: Path) -> "Chunk":
        """All of a file."""
        return cls(str(path), 1, 0, -1)
