"""CSV for spreadsheets."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.label.files import FILE_FORMS
from tasks.label.values import Batch, Filled

COLUMNS = ("row", "prompt", "answer", "suggestion", "by", "reason", "group", "times")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


@FILE_FORMS.register
class Csv:
    """A row of a table for each row; people write into the column `answer`.

    A cell that a spreadsheet would take for a formula has an apostrophe before it (OWASP, "CSV
    injection"), which is taken away when the file comes back.
    """

    name = "csv"
    meaning = (
        "A table for spreadsheets (UTF-8): fill in the column `answer`, and your name in `by`."
    )
    suffix = ".csv"

    def write(self, path: Path, batch: Batch) -> tuple[Path, ...]:
        """As `FileForm.write`."""
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(COLUMNS)
        for row in batch.rows:
            cells = (row.id, row.prompt, "", row.suggestion or "", "", row.reason, row.group)
            writer.writerow([*map(shielded, cells), row.times])
        # With a byte order mark Excel reads UTF-8.
        files.write_text(path, "\ufeff" + table.getvalue())
        return ()

    def read(self, item: Mapping[str, Any]) -> list[Filled] | None:  # noqa: ARG002
        """None: rows of a table come unshielded, and are then those of JSON Lines."""
        return None


def shielded(text: str) -> str:
    """The text as a cell that is no formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def unshielded(cell: str) -> str:
    """What `shielded` was given."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
