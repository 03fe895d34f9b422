"""What holds for every form of file that people fill in."""

import csv
import io
import json
from pathlib import Path

import pytest

from tasks.label import FILE_FORMS, Batch, BatchRow, FileForm
from tasks.label.reading import read_filled

PROMPTS = (
    "Sort the rows.",
    '=HYPERLINK("http://x"; "a"),b\n\'second\' line\ttab',
    "'-1 <script>alert(1)</script> & \x1b[31m \u2028 {{ jinja }} $prompt",
    "Wie heißt “das” 東京 🎌?",
)
pytestmark = pytest.mark.parametrize("form", [*FILE_FORMS], ids=lambda form: form.name)


def batch(kind: str) -> Batch:
    return Batch(
        key="0123456789",
        kind=kind,
        choices=('<b>"yes"</b>', "no & maybe") if kind == "labels" else (),
        strategy="novelty",
        rows=tuple(
            BatchRow(
                id=f"0123456789-{number:04d}", window="w.jsonl", line=number, prompt=prompt,
                group=f"row w.jsonl:{number}", strategy="novelty", reason="new; =1+1",
                suggestion="no & maybe" if number % 2 else None, record={"prompt": prompt},
            )
            for number, prompt in enumerate(PROMPTS, 1)
        ),
    )  # fmt: skip


def fill_in(form: str, path: Path, answers: list[str]) -> None:
    """As a person or a tool does."""
    if form == "csv":
        rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
        for row, answer in zip(rows[1:], answers, strict=True):
            row[2] = answer
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=";").writerows(rows)  # as a German spreadsheet saves it
        return
    if form == "jsonl":
        items = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
        items = [item | {"answer": answer} for item, answer in zip(items, answers, strict=True)]
    elif form == "argilla":
        lines = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
        items = [
            {"id": line["id"], "fields": {"prompt": line["prompt"]}, "metadata": {},
             "responses": {"answer": [{"value": answer, "user_id": "u1"}]} if answer else {}}
            for line, answer in zip(lines, answers, strict=True)
        ]  # fmt: skip
    else:
        items = json.loads(path.read_text("utf-8"))
        for item, answer in zip(items, answers, strict=True):
            value = {"choices": [answer]} if answer in ("no & maybe",) else {"text": [answer]}
            result = [{"from_name": "answer", "to_name": "prompt", "value": value}]
            item["annotations"] = [{"completed_by": {"id": 1}, "result": result if answer else []}]
    as_list = form in ("label-studio", "argilla")
    path.write_text(
        json.dumps(items) if as_list else "".join(json.dumps(item) + "\n" for item in items)
    )


@pytest.mark.parametrize("kind", ["labels", "answers"])
def test_what_people_fill_in_is_read_beside_the_very_prompt(
    form: FileForm, kind: str, tmp_path: Path
) -> None:
    made, path = batch(kind), tmp_path / f"rows{form.suffix}"
    beside = form.write(path, made)
    assert [one.answer or "" for one in read_filled(path)] == [""] * 4  # nobody has answered
    answers = ["no & maybe", "", "=1+1 'as text'", "no & maybe"]
    fill_in(form.name, path, answers)
    found = read_filled(path)
    assert [one.row for one in found] == [row.id for row in made.rows]
    assert [" ".join((one.prompt or "").split()) for one in found] == [
        " ".join(prompt.split()) for prompt in PROMPTS
    ]
    assert [one.answer or "" for one in found] == answers
    assert all(one.place.startswith(str(path)) for one in found)
    assert form.meaning.endswith(".") and all(other.is_file() for other in beside)


def test_no_cell_is_a_formula_and_no_label_is_markup(form: FileForm, tmp_path: Path) -> None:
    path = tmp_path / f"rows{form.suffix}"
    beside = form.write(path, batch("labels"))
    if form.name == "csv":
        cells = [c for row in csv.reader(io.StringIO(path.read_text("utf-8-sig"))) for c in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    for other in beside:
        from xml.etree import ElementTree

        found = ElementTree.fromstring(other.read_text("utf-8")).iter("Choice")
        assert [choice.get("value") for choice in found] == list(batch("labels").choices)
