"""What every format of records keeps, whoever wrote it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tasks.records import FORMATS, KINDS, REASONS, BadLine, Format, Line, Rejected, parse
from tasks.records.reference import record_formats
from tests import examples

PROJECT = Path(__file__).parent.parent.parent
MEMBERS = list(FORMATS)
EXAMPLES = [(format, example) for format in MEMBERS for example in format.examples]

VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False)
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "x"]), inner)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("format", MEMBERS, ids=lambda format: format.name)
class TestEveryFormat:
    def test_it_documents_itself(self, format: Format) -> None:
        assert format.name.isidentifier() and format.kind in KINDS
        assert format.source and format.examples and format.required
        assert all(meaning and not meaning.endswith(".") for meaning in format.keys.values())
        # Without a key that it reads a line would be of this format and say nothing.
        for group in format.required:
            assert group and set(group) <= format.keys.keys()
        assert [other.name for other in MEMBERS].count(format.name) == 1

    def test_the_keys_of_its_examples_are_documented(self, format: Format) -> None:
        beside = {"system", "system_prompt", "tools"}
        for example in format.examples:
            assert example.keys() <= format.keys.keys() | beside, example

    def test_a_line_without_values_is_another_format_s_or_rejected(self, format: Format) -> None:
        empty = {key: None for group in format.required for key in group}
        try:
            assert format.parse(Line(empty, labelled=True)) is None
        except Rejected as error:
            assert error.reason in REASONS


@pytest.mark.parametrize(("format", "example"), EXAMPLES)
def test_an_example_is_a_record_that_survives_being_written(
    format: Format, example: dict[str, Any]
) -> None:
    record = parse(example, "a.jsonl", 1)
    assert not isinstance(record, BadLine), record
    rated = isinstance(example.get("label"), bool)
    assert record.kind == ("labelled" if rated else format.kind)
    assert not record.meta, "a key of the example was not read"
    again = parse(json.loads(json.dumps(record.row())), "b.jsonl", 1)
    assert not isinstance(again, BadLine), again
    assert (again.id, again.content()) == (record.id, record.content())


@pytest.mark.parametrize(("format", "example"), EXAMPLES)
def test_a_key_of_another_format_is_never_ignored(format: Format, example: dict[str, Any]) -> None:
    for key in sorted(FORMATS.content_keys() - example.keys()):
        item = parse({**example, key: "Words of no turn."}, "a.jsonl", 1)
        if isinstance(item, BadLine):
            assert any(name in item.detail for name in (key, *example)), item
        else:
            assert key not in item.meta and "Words of no turn." in item.text


@hypothesis(max_examples=300, deadline=None)
@given(data=st.data(), labelled=st.booleans())
def test_any_values_give_a_record_or_a_reason(data: st.DataObject, labelled: bool) -> None:
    format = data.draw(st.sampled_from(MEMBERS))
    needed = [data.draw(st.sampled_from(group)) for group in format.required]
    more = data.draw(st.lists(st.sampled_from(sorted(format.keys)), max_size=3))
    value = {key: data.draw(VALUES) for key in [*needed, *more]}
    item = parse(value, "a.jsonl", 1, labelled=labelled)
    if isinstance(item, BadLine):
        assert item.reason in REASONS and item.detail
    else:
        again = parse(json.loads(json.dumps(item.row())), "b.jsonl", 1, labelled=labelled)
        assert not isinstance(again, BadLine) and again.content() == item.content()


def test_the_reference_is_fresh() -> None:
    written = (PROJECT / "docs" / "reference" / "record-formats.md").read_text(encoding="utf-8")
    assert written == record_formats(), "run tasks.records.reference, as it says"


def test_a_users_format_is_one_file(tmp_path: Path) -> None:
    """In a process of its own, so that the format stays out of the other tests."""
    (tmp_path / "tickets.py").write_text(examples.EXAMPLES["tickets.py"])
    rows = [
        {"ticket": "It is broken.", "reply": "Turn it off.", "id": 7, "shop": "Bern"},
        {"ticket": "And now?", "reply": "?"},
        {"prompt": "Hi", "completion": "Hello", "ticket": "unread"},
        {"ticket": 5, "reply": "x"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "a.csv").write_text("TICKET;Reply\nIt is broken.;Turn it off.\n")
    code = (
        "import json, pathlib\n"
        "from tasks import records\n"
        "from tasks.core.plugins import load_plugins\n"
        "list(records.read(pathlib.Path('a.jsonl')))\n"
        "load_plugins(['tickets.py'])\n"
        "for name in ('a.jsonl', 'a.csv'):\n"
        "    for item in records.read(pathlib.Path(name)):\n"
        "        bad = isinstance(item, records.BadLine)\n"
        "        print(json.dumps([item.reason, item.detail] if bad else item.row()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    first, unanswered, foreign, number, table = map(json.loads, done.stdout.splitlines())
    assert [turn["content"] for turn in first["messages"]] == ["It is broken.", "Turn it off."]
    assert (first["id"], first["meta"]) == ("7", {"shop": "Bern"})
    assert unanswered == ["nothing_to_learn", "reply: not answered yet"]
    assert foreign[0] == "unread_key" and foreign[1].startswith("ticket:")
    assert number == ["wrong_type", "ticket: expected text, found int"]
    assert table["messages"] == first["messages"]
