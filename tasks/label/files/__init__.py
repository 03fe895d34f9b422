"""The files that people fill in: a file for each form.

    @FILE_FORMS.register
    class Sheet:
        name = "sheet"
        meaning = "For the tool that we use."
        suffix = ".json"

        def write(self, path, batch): ...
        def read(self, item): ...

A plugin of yours imports `FILE_FORMS`, `Batch` and `Filled` from `tasks.label`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tasks.core.plugins import PluginRegistry
from tasks.label.values import Batch, Filled

__all__ = ["FILE_FORMS", "FileForm"]


class FileForm(Protocol):
    """A form of file; `tests/contract/test_label_files.py` holds for each."""

    name: str
    """`--format` of `perpetune label`."""
    meaning: str
    """A sentence for the documentation."""
    suffix: str
    """Of the file's name."""

    def write(self, path: Path, batch: Batch) -> tuple[Path, ...]:
        """Write the rows, without answers; gives the other files that it wrote beside `path`."""
        ...

    def read(self, item: Mapping[str, Any]) -> list[Filled] | None:
        """The answers in a line, an element or a row of a table; None: it is of another form.

        An item that nobody answered gives a `Filled` with an empty answer.
        """
        ...


FILE_FORMS: PluginRegistry[FileForm] = PluginRegistry("label file", "tasks.label.files")
