"""Argilla: rows that `dataset.records.log` takes, and what `records.to_json` writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.label.files import FILE_FORMS
from tasks.label.values import Batch, Filled


@FILE_FORMS.register
class Argilla:
    """Records of a data set with a field `prompt` and a question `answer`.

    Argilla's documentation, "Add, update, and delete records": a key with the name of a question
    is taken as a suggestion.
    """

    name = "argilla"
    meaning = "Records for a data set of Argilla with a field `prompt` and a question `answer`."
    suffix = ".jsonl"

    def write(self, path: Path, batch: Batch) -> tuple[Path, ...]:
        """As `FileForm.write`."""
        lines = []
        for row in batch.rows:
            line: dict[str, Any] = {"id": row.id, "prompt": row.prompt}
            if row.suggestion is not None:
                line["answer"] = row.suggestion
            lines.append(line)
        files.write_jsonl(path, lines)
        return ()

    def read(self, item: Mapping[str, Any]) -> list[Filled] | None:
        """As `FileForm.read`: without `responses` nobody has answered."""
        fields = item.get("fields")
        if not isinstance(fields, Mapping):
            if item.keys() <= {"id", "prompt", "answer"} and {"id", "prompt"} <= item.keys():
                return [Filled(row=str(item["id"]), prompt=item["prompt"])]
            return None
        responses = (item.get("responses") or {}).get("answer") or ()
        row, prompt = str(item.get("id", "")), fields.get("prompt")
        return [
            Filled(
                row=row, prompt=prompt, answer=said.get("value"), by=str(said.get("user_id", ""))
            )
            for said in responses
        ] or [Filled(row=row, prompt=prompt)]
