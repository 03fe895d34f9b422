"""Label Studio: tasks to import, its labelling configuration, and its exports."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from tasks.core import files
from tasks.label.files import FILE_FORMS
from tasks.label.values import Batch, BatchRow, Filled


@FILE_FORMS.register
class LabelStudio:
    """Tasks with predictions, and beside them the configuration of a project for them.

    Label Studio's documentation: "Import data", "Import pre-annotated data", "Export annotations"
    (JSON and JSON_MIN).
    """

    name = "label-studio"
    meaning = "Tasks for Label Studio, with a labelling configuration beside them."
    suffix = ".json"

    def write(self, path: Path, batch: Batch) -> tuple[Path, ...]:
        """As `FileForm.write`."""
        config = path.with_suffix(".config.xml")
        files.write_text(config, _config(batch))
        files.write_json(path, [_task(batch, row) for row in batch.rows], sort_keys=False)
        return (config,)

    def read(self, item: Mapping[str, Any]) -> list[Filled] | None:
        """As `FileForm.read`."""
        data = item.get("data")
        if isinstance(data, Mapping) and "row" in data:
            return _annotated(item, data)
        if "row" in item and "annotator" in item:  # JSON_MIN
            answer = item.get("answer")
            answer = answer.get("text") if isinstance(answer, Mapping) else answer
            by = str(item["annotator"])
            return [_filled(item, _single(answer), by)]
        return None


def _task(batch: Batch, row: BatchRow) -> dict[str, Any]:
    data = {"row": row.id, "prompt": row.prompt, "reason": row.reason, "group": row.group}
    task: dict[str, Any] = {"data": data}
    if row.suggestion is not None:
        kind = "choices" if batch.choices else "textarea"
        key = "choices" if batch.choices else "text"
        value = {key: [row.suggestion]}
        result = {"from_name": "answer", "to_name": "prompt", "type": kind, "value": value}
        task["predictions"] = [{"model_version": "suggestion", "result": [result]}]
    return task


def _config(batch: Batch) -> str:
    lines = [
        "<View>",
        '  <Text name="prompt" value="$prompt"/>',
        '  <Text name="reason" value="$reason"/>',
    ]
    if batch.choices:
        lines.append('  <Choices name="answer" toName="prompt" choice="single">')
        lines += [f"    <Choice value={quoteattr(str(label))}/>" for label in batch.choices]
        lines.append("  </Choices>")
    else:
        lines.append(
            '  <TextArea name="answer" toName="prompt" maxSubmissions="1" editable="true"/>'
        )
    return "\n".join([*lines, "</View>", ""])


def _annotated(item: Mapping[str, Any], data: Mapping[str, Any]) -> list[Filled]:
    found = []
    for annotation in item.get("annotations") or ():
        if annotation.get("was_cancelled"):
            continue
        by = annotation.get("completed_by", "")
        by = str(by.get("email") or by.get("id") or "") if isinstance(by, Mapping) else str(by)
        for result in annotation.get("result") or ():
            if result.get("from_name") == "answer":
                value = result.get("value") or {}
                found.append(_filled(data, _single(value.get("choices") or value.get("text")), by))
                break
        else:
            found.append(_filled(data, "", by))
    return found or [_filled(data, "", "")]


def _filled(data: Mapping[str, Any], answer: Any, by: str) -> Filled:
    return Filled(row=str(data["row"]), prompt=data.get("prompt"), answer=answer, by=by)


def _single(value: Any) -> Any:
    """The one choice or text that Label Studio has in a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
