"""The formats of records: one registry, one contract, one file for each format.

A decoded line is offered to the formats in the order of their `precedence`, to those whose
`required` keys it has; the first that does not answer None says what the line means. What every
format may have beside its own keys (a system prompt, tools, an id) is read for all of them in
`tasks.records.parsing`.

CONTRIBUTING.md has an example.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from tasks.core.plugins import PluginRegistry
from tasks.records.line import CARRIED_KEYS, CONTENT_KEYS, Content, Line
from tasks.records.record import Kind


class Format:
    """A format of records.

    Attributes:
        name: by which documentation and tests know it.
        kind: what its records are.
        precedence: lower is asked first. Perpetune's own have 10 to 60, so that a format with 0
            decides before them, and one with 100 takes what none of them reads.
        required: groups of keys; a line without any key of a group is not of this format.
        keys: the keys that carry its content, with their meaning. In a record of another format
            such a key is never ignored: the record is dropped with the reason `unread_key`.
        source: whose documentation has it.
        examples: lines of this format.
    """

    name: str
    kind: Kind
    precedence: int
    required: tuple[tuple[str, ...], ...]
    keys: ClassVar[Mapping[str, str]]
    source: str
    examples: tuple[Mapping[str, Any], ...]

    def parse(self, line: Line) -> Content | None:
        """What the line says; None where it is of another format after all.

        Each key that is read is taken from `line`, which notes it; others go into `meta`.

        Raises:
            Rejected: it is of this format, and no record.
        """
        raise NotImplementedError


class Formats(PluginRegistry[Format]):
    """The registry, and which formats a line may be of, by its keys."""

    _MOST_CACHED = 4096

    def __init__(self) -> None:
        super().__init__("format", __name__)
        self._by_keys: dict[tuple[str, ...], tuple[Format, ...]] = {}
        self._content_keys: frozenset[str] = frozenset()

    def add(self, member: Format) -> Format:
        """As `PluginRegistry.add`."""
        self._by_keys = {}
        self._content_keys = frozenset()
        return super().add(member)

    def candidates(self, line: Mapping[str, Any]) -> tuple[Format, ...]:
        """The formats whose required keys the line has, in the order in which they are asked."""
        keys = tuple(line)
        found = self._by_keys.get(keys)
        if found is None:
            ordered = sorted(self, key=lambda format: (format.precedence, format.name))
            found = tuple(
                format
                for format in ordered
                if all(any(key in line for key in group) for group in format.required)
            )
            if len(self._by_keys) >= self._MOST_CACHED:
                self._by_keys.clear()
            self._by_keys[keys] = found
        return found

    def content_keys(self) -> frozenset[str]:
        """The keys with content of all formats, which no record may leave unread."""
        if not self._content_keys:
            of_formats = CONTENT_KEYS.union(*(format.keys for format in self))
            self._content_keys = of_formats - CARRIED_KEYS
        return self._content_keys


FORMATS = Formats()
