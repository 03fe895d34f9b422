"""Read: inputs are cut into chunks for the workers."""

import logging
from collections.abc import Sequence
from pathlib import Path

from tasks import records
from tasks.core.errors import BadInput
from tasks.records import BadLine, Chunk
from tasks.rendering.markdown import visible

log = logging.getLogger(__name__)


def input_chunks(paths: Sequence[Path]) -> list[Chunk]:
    """The chunks of all these files, in order.

    Raises:
        BadInput: an input is missing, or all of them are empty.
    """
    found: list[Chunk] = []
    for path in paths:
        of_file = records.chunks(path)
        if not of_file:
            log.warning("%s: is empty", visible(str(path)))
        found += of_file
    if not found:
        raise BadInput(f"{paths[0]}: holds no record; remove it from the inputs or fill it")
    return found


def no_record(first: BadLine, count: int) -> str:
    """What to say of a file of which no line is a record."""
    return (
        f"{first.source}:{first.line}: {first.reason}: {first.detail}; none of the file's {count} "
        "lines is a record: fix the file or take it out"
    )
