"""Records: what every step passes on, and the files, folders and addresses they are read from."""

from tasks.records.forms import REASONS, parse
from tasks.records.places import FORMATS, RemotePath, expand
from tasks.records.reading import (
    MAX_LINE_BYTES,
    Chunk,
    chunks,
    load,
    original,
    read,
    read_chunk,
    values,
)
from tasks.records.record import (
    INSTRUCTING,
    KINDS,
    TEXT_ROLE,
    BadLine,
    Chat,
    Kind,
    Labelled,
    Preference,
    Record,
    Text,
    ToolCall,
    Turn,
    content_id,
)

__all__ = [
    "FORMATS",
    "INSTRUCTING",
    "KINDS",
    "MAX_LINE_BYTES",
    "REASONS",
    "TEXT_ROLE",
    "BadLine",
    "Chat",
    "Chunk",
    "Kind",
    "Labelled",
    "Preference",
    "Record",
    "RemotePath",
    "Text",
    "ToolCall",
    "Turn",
    "chunks",
    "content_id",
    "expand",
    "load",
    "original",
    "parse",
    "read",
    "read_chunk",
    "values",
]
