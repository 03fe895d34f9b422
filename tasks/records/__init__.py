"""Records: what every step passes on, and the files, folders and addresses they are read from."""

from tasks.records.places import FORMATS, RemotePath, expand
from tasks.records.reading import MAX_LINE_BYTES, Chunk, chunks, load, original, read, read_chunk
from tasks.records.record import BadLine, Record, content_id, parse

__all__ = [
    "FORMATS",
    "MAX_LINE_BYTES",
    "BadLine",
    "Chunk",
    "Record",
    "RemotePath",
    "chunks",
    "content_id",
    "expand",
    "load",
    "original",
    "parse",
    "read",
    "read_chunk",
]
