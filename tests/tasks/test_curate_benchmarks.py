"""Benchmarks in the forms that they are published in: what is read of each."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import BadInput
from tasks.curate.settings import Curate
from tasks.curate.steps.contamination.benchmarks import Item, read_benchmarks, read_item
from tasks.records import BadLine

ASKED = "Which desert flower opens only in the first hour after rain?"
LONG = "A text of more than seven words that explains what is asked."


def item(row: dict[str, Any]) -> Item:
    found = read_item(row, "bench.jsonl", 3)
    assert isinstance(found, Item), found
    return found


CHOICES = [
    {"question": ASKED, "choices": ["rose", "lily", "aster"], "answer": 1},
    {"question": ASKED, "choices": ["rose", "lily", "aster"], "answer": "B"},
    {"question": ASKED, "options": ["rose", "lily", "aster"], "correct_option": 1},
    {
        "question": ASKED,
        "choices": {"text": ["rose", "lily"], "label": ["1", "2"]},
        "answerKey": "2",
    },
    {
        "question": {
            "stem": ASKED,
            "choices": [{"text": "rose", "label": "A"}, {"text": "lily", "label": "B"}],
        },
        "answerKey": "B",
    },
    {"Question": ASKED, "A": "rose", "B": "lily", "C": "aster", "D": "x", "Answer": "B"},
    {"question": ASKED, "opa": "rose", "opb": "lily", "opc": "aster", "cop": 1},
    {"ctx": ASKED, "endings": ["rose", "lily"], "label": "1"},
    {"sentence": ASKED, "option1": "rose", "option2": "lily", "answer": "2"},
    {"goal": ASKED, "sol1": "rose", "sol2": "lily", "label": 1},
    {"question": ASKED, "mc1_targets": {"choices": ["rose", "lily"], "labels": [0, 1]}},
    {"input": ASKED, "target_scores": {"rose": 0, "lily": 1}},
    {"inputs": ASKED, "targets": ["lily"], "multiple_choice_targets": ["rose", "lily"]},
]


@pytest.mark.parametrize("row", CHOICES, ids=lambda row: "/".join(row))
def test_the_right_choice_is_the_answer(row: dict[str, Any]) -> None:
    found = item(row)
    assert (found.prompt, found.answer, found.answered) == (ASKED, "lily", True)
    assert dict(found.more)["choices"].startswith(f"{ASKED}\nA. rose\nB. lily")


ANSWERED: list[tuple[dict[str, Any], str]] = [
    ({"question": ASKED, "answer": LONG}, LONG),
    ({"problem": ASKED, "solution": LONG, "level": "Level 3"}, LONG),
    ({"data": {"problem": ASKED, "solution": LONG}}, LONG),
    ({"input": ASKED, "target": "lily"}, "lily"),
    ({"inputs": ASKED, "targets": ["lily", "a lily"]}, "lily\na lily"),
    ({"question": ASKED, "answers": {"text": ["lily"], "answer_start": [0]}}, "lily"),
    ({"question": ASKED, "answer": {"value": "lily", "aliases": ["x"]}}, "lily"),
    ({"question": ASKED, "answer": True}, "true"),
    ({"Problem": ASKED, "Answer": 204}, "204"),
    ({"question": ASKED, "best_answer": LONG, "correct_answers": ["x"]}, LONG),
    ({"prompt": ASKED, "canonical_solution": LONG, "task_id": "HumanEval/1"}, LONG),
    ({"text": ASKED, "code": LONG, "test_list": ["assert f(1) == 2"]}, LONG),
    ({"instruction": ASKED, "input": "", "output": LONG}, LONG),
    ({"messages": [{"role": "user", "content": ASKED}], "answer": LONG}, LONG),
    ({"prompt": ASKED, "completion": LONG}, LONG),
]


@pytest.mark.parametrize(("row", "answer"), ANSWERED, ids=lambda row: "/".join(row)[:40])
def test_question_and_answer_are_read(row: dict[str, Any], answer: str) -> None:
    found = item(row)
    assert (found.prompt, found.answer, found.answered) == (ASKED, answer, True)


def test_every_other_text_is_searched_for_by_its_name() -> None:
    row = {
        "question": ASKED, "answer": "x", "context": f"{LONG} 1", "test": f"{LONG} 2",
        "Warum": f"{LONG} 3", "tests": [f"{LONG} 4", "more"], "subject": "botany", "id": 7,
    }  # fmt: skip
    more = dict(item(row).more)
    assert set(more) == {"context", "column test", "column warum", "column tests"}
    assert more["column tests"] == f"{LONG} 4\nmore"
    assert item(row).id == "7"
    unknown = item({"aufgabe": LONG, "nummer": 5})
    assert (unknown.prompt, unknown.answered) == ("", False)
    assert unknown.more == (("column aufgabe", LONG),)


@pytest.mark.parametrize(
    "row",
    [
        {"question": ASKED},
        {"question": ASKED, "answer": None},
        {"question": ASKED, "choices": ["rose", "lily"], "answerKey": "Z"},
        {"question": ASKED, "choices": ["rose", "lily"], "label": 9},
        {"prompt": ASKED},
    ],
)
def test_an_answer_that_cannot_be_read_is_told(row: dict[str, Any]) -> None:
    assert not item(row).answered


def test_a_text_needs_no_answer() -> None:
    assert item({"text": LONG}).answered and item({"text": LONG, "url": "x"}).answered


def test_lines_without_answers_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        {"question": f"{ASKED} {n}", "answer": "x" if n else None, "note": LONG} for n in (0, 1)
    ]
    path = tmp_path / "bench.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"n": 1}]))
    with caplog.at_level(logging.WARNING):
        (found,) = read_benchmarks([str(path)], Curate())
    assert (len(found.records), found.unreadable, found.unanswered) == (2, 1, 1)
    assert "no answer was found in 1 of 2 records" in caplog.text
    # What all records have in a column says nothing of one.
    assert all(not item.more for item in found.records)
    path.write_text('{"n": 1}\n')
    with pytest.raises(BadInput, match=r"bench.jsonl:1: missing_field"):
        read_benchmarks([str(path)], Curate())


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.floats(allow_nan=False)
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["question", "choices", "answer", "label", "A", "B", "context", "mc1_targets", "messages", "x"]
)


@given(st.dictionaries(NAMES, VALUES, max_size=6) | VALUES)
def test_any_line_is_a_record_or_has_its_reason(row: Any) -> None:
    assert isinstance(read_item(row, "bench.jsonl", 1), Item | BadLine)
