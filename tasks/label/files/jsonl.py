"""JSON Lines for any editor."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.label.files import FILE_FORMS
from tasks.label.values import Batch, Filled


@FILE_FORMS.register
class Jsonl:
    """A line for each row; people write into `answer`."""

    name = "jsonl"
    meaning = "A JSON object a line: fill in `answer`, and your name in `by`."
    suffix = ".jsonl"

    def write(self, path: Path, batch: Batch) -> tuple[Path, ...]:
        """As `FileForm.write`."""
        files.write_jsonl(path, (_line(batch, number) for number in range(len(batch.rows))))
        return ()

    def read(self, item: Mapping[str, Any]) -> list[Filled] | None:
        """As `FileForm.read`."""
        if "row" not in item or "answer" not in item or "annotator" in item:
            return None
        return [
            Filled(
                row=str(item["row"]),
                prompt=item.get("prompt"),
                answer=item["answer"],
                by=str(item.get("by") or ""),
            )
        ]


def _line(batch: Batch, number: int) -> dict[str, Any]:
    row = batch.rows[number]
    line: dict[str, Any] = {"row": row.id, "prompt": row.prompt, "answer": ""}
    if batch.choices:
        line["choices"] = list(batch.choices)
    if row.suggestion is not None:
        line["suggestion"] = row.suggestion
    return line | {"by": "", "reason": row.reason, "group": row.group, "times": row.times}
