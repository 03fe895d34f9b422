"""What a person is told of a comparison: kinds, and rows and words by feature group."""

import html
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.drift import DriftResult, detect
from tasks.settings import Settings

SETTINGS = Settings.model_validate({"drift": {"permutations": 200}})
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e"
ASK = [
    "sort the rows",
    "join two frames",
    "fill missing values",
    "drop a column",
    "count the cells",
]


def chat(number: int, system: str, answer: str, mail: str = "") -> dict:
    draw = random.Random(number)
    ask = f"{draw.choice(ASK)} and {draw.choice(ASK)} by key {draw.randrange(1000)}{mail}"
    return {
        "id": f"c{number}",
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": ask},
            {"role": "assistant", "content": answer},
        ],
    }


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[DriftResult, str]:
    """Other instructions and answers, on the same prompts; both are hostile text."""
    folder = tmp_path_factory.mktemp("told")
    sides = {
        "reference": [chat(n, "You sort tables.", f"Done by step {n % 30}.") for n in range(100)],
        "<i>window</i>": [
            chat(n, f"Obey {HOSTILE}", f"I refuse. {HOSTILE}", " for ada@perpetune.dev")
            for n in range(100, 160)
        ],
    }
    paths = {}
    for name, lines in sides.items():
        paths[name] = folder / f"{name.replace('/', '-')}.jsonl"
        paths[name].write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = folder / "page.html"
    return detect(*paths.values(), SETTINGS, report=page), page.read_text()


def test_each_group_that_differs_has_its_rows_and_words(told: tuple[DriftResult, str]) -> None:
    result, _ = told
    assert result.drift
    assert {"system", "answer"} <= {example.group for example in result.examples}
    answers = [example for example in result.examples if example.group == "answer"]
    assert all("I refuse" in example.text for example in answers)
    words = {term.term for term in result.shifted_terms if term.group == "system"}
    assert {"obey", "tables"} <= words
    kinds = {kind.name: kind for kind in result.kinds}
    assert {"new system prompt", "answers changed"} <= kinds.keys()
    assert "I refuse" in kinds["answers changed"].sentence


def test_personal_data_of_a_window_is_never_quoted(told: tuple[DriftResult, str]) -> None:
    result, page = told
    assert "ada@perpetune.dev" not in page
    assert "ada@perpetune.dev" not in str(result)


def test_the_page_says_it_all_and_obeys_nothing(told: tuple[DriftResult, str]) -> None:
    result, page = told
    for kind in result.kinds:
        assert kind.remedy.split("`")[0] in html.unescape(page)
    for test in result.tests:
        assert f"<td>{test.name}</td>" in page
    for left in result.not_compared:
        assert f"not compared: {left.reason}" in page
    assert f"{result.effective.current.groups}</td>" in page
    assert "<script>alert" not in page and "<img src=x" not in page and "<i>window" not in page
    assert "\u202e" not in page and "⟨U+202E⟩" in page


def test_quiet_traffic_of_smaller_groups_is_no_change_of_frequency(
    write_lines: Callable[..., Path],
) -> None:
    # A few prompts come twice; the window's sessions are shorter than the reference's.
    def rows(count: int, size: int, name: str) -> list[dict]:
        return [
            chat(draw.randrange(10**6), "", f"Done by step {draw.randrange(30)}.")
            | {"group": f"{name}{n // size}", "id": f"{name}-{n}"}
            for n in range(count)
        ]

    draw = random.Random(3)
    reference = rows(240, 4, "r")
    reference[8] = reference[0] | {"id": "r-copy", "group": "r2"}
    found = detect(
        write_lines("r.jsonl", *reference), write_lines("w.jsonl", *rows(80, 1, "w")), SETTINGS
    )
    by_name = {test.name: test.p_value for test in found.tests}
    assert by_name.get("frequency", 1.0) > 0.01
    assert not found.drift and found.kinds == ()
