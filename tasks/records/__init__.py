"""Records: what every step passes on, and the formats, files and addresses it is read from."""

from tasks.records.chunk import Chunk
from tasks.records.formats import FORMATS, Format
from tasks.records.line import Content, Line
from tasks.records.parsing import REASONS, parse
from tasks.records.reading import (
    MAX_LINE_BYTES,
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
from tasks.records.sources import SUFFIXES, RemotePath, expand
from tasks.records.turns import Rejected

__all__ = [
    "FORMATS",
    "INSTRUCTING",
    "KINDS",
    "MAX_LINE_BYTES",
    "REASONS",
    "SUFFIXES",
    "TEXT_ROLE",
    "BadLine",
    "Chat",
    "Chunk",
    "Content",
    "Format",
    "Kind",
    "Labelled",
    "Line",
    "Preference",
    "Record",
    "Rejected",
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
