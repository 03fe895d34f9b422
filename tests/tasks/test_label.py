"""Rows go out to people and come back: what is chosen, what is checked, what is kept."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.collect import adopt_window
from tasks.core.errors import BadInput
from tasks.label import Known, hand_out, is_labelled, take, with_labels
from tasks.label.agreement import kappa
from tasks.settings import Settings

WORDS = {
    "billing": ["invoice", "refund", "charge", "card", "price"],
    "login": ["password", "screen", "crash", "update", "account"],
    "parcel": ["delivery", "late", "address", "box", "tracking"],
}
FILLER = ["the", "my", "please", "help", "why", "again"]


def question(number: int, label: str) -> str:
    draw = random.Random(f"{label}-{number}")
    words = [draw.choice(WORDS[label] + FILLER) for _ in range(8)]
    return f"{' '.join(words)} {number}"


Make = Callable[..., Settings]


@pytest.fixture
def made(make_settings: Make, write_lines: Callable[..., Path], tmp_path: Path) -> Settings:
    """Training data of two labels, and a window of three: the third is new, and has no answers."""
    known = [("billing", "login")[n % 2] for n in range(80)]
    write_lines("train.jsonl", *(
        {"text": question(n, label), "label": label} for n, label in enumerate(known)
    ))  # fmt: skip
    labels = [("billing", "login", "parcel")[n % 3] for n in range(150)]
    write_lines("traffic/w1.jsonl", *(
        {"text": question(1000 + n, label), "group": f"user {n // 2}", "truth": label}
        for n, label in enumerate(labels)
    ))  # fmt: skip
    return make_settings(
        curate={"inputs": [str(tmp_path / "train.jsonl")], "feedback": str(tmp_path / "feedback")},
        evaluate={"benchmarks": [str(tmp_path / "benchmarks")]},
        label={"choices": ["billing", "login", "parcel"]},
        watch={"traffic": str(tmp_path / "traffic")},
    )


def window_of(made: Settings) -> Path:
    return Path(made.watch.traffic) / "w1.jsonl"


def truth(made: Settings) -> dict[str, str]:
    lines = window_of(made).read_text().splitlines()
    return {row["text"]: row["truth"] for row in map(json.loads, lines)}


def handed_out(made: Settings, tmp_path: Path, budget: int = 60, **answers: Any) -> list[dict]:
    hand_out([window_of(made)], budget, "jsonl", tmp_path / "out.jsonl", Known(), made)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    return [row | {"answer": truth(made)[row["prompt"]]} | answers for row in rows]


def test_equal_calls_give_equal_files_and_a_filled_one_is_never_overwritten(
    made: Settings, tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    rows = handed_out(made, tmp_path)
    first = (tmp_path / "out.jsonl").read_bytes()
    assert rows == handed_out(made, tmp_path) and (tmp_path / "out.jsonl").read_bytes() == first
    assert len(rows) == len({row["prompt"] for row in rows}) == 60
    assert sum("at random" in row["reason"] for row in rows) == 12
    assert len({row["group"] for row in rows}) > 40  # of 75, none is asked three times
    write_lines("out.jsonl", *rows)
    with pytest.raises(BadInput, match=r"people may have filled it in.*--take"):
        handed_out(made, tmp_path)
    assert (tmp_path / "out.jsonl").read_text().count('"parcel"') > 10


def test_new_rows_are_preferred_and_say_so(made: Settings, tmp_path: Path) -> None:
    rows = handed_out(made, tmp_path, 40)
    chosen = [row for row in rows if "at random" not in row["reason"]]
    assert sum(row["answer"] == "parcel" for row in chosen) / len(chosen) > 0.5  # a third is
    assert all("from the training data" in row["reason"] for row in chosen)


def test_answers_become_labelled_rows_of_the_window_which_joins_the_data(
    made: Settings, tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    rows = handed_out(made, tmp_path)
    for row in rows[:5]:
        row["answer"] = "  "
    taken = take([write_lines("back.jsonl", *rows)], made)
    assert (taken.taken, taken.empty, taken.missing) == (55, 5, 5)
    items = [item for item in with_labels(window_of(made), made) if item.target]
    assert len(items) == 55 and taken.windows == {str(window_of(made)): 55}
    assert all(item.target == truth(made)[item.prompt] for item in items)
    assert {item.meta["label"]["strategy"] for item in items} == {"random", "combined"}
    assert all(item.group for item in items)
    # The same again changes nothing, a correction takes the answer's place.
    assert take([tmp_path / "back.jsonl"], made).changed == 0
    rows[9]["answer"] = "login" if rows[9]["answer"] != "login" else "billing"
    assert take([write_lines("back.jsonl", *rows)], made).changed == 1
    # Rows that have an answer are not handed out again.
    (tmp_path / "out.jsonl").unlink()
    again = {row["prompt"] for row in handed_out(made, tmp_path, 150)}
    assert len(again) == 95 and not again & {item.prompt for item in items}


def test_a_labelled_window_can_be_adopted(
    made: Settings, tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    take([write_lines("back.jsonl", *handed_out(made, tmp_path))], made)
    adopted = adopt_window(window_of(made), made)
    assert adopted.labelled == 60
    kept = adopted.feedback.read_text() + adopted.benchmark.read_text()
    assert len(kept.splitlines()) == 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "something else"}, r"back.jsonl:2: the prompt of \w+-0002 was changed"),
        ({"row": "0000000000-0001"}, "back.jsonl:2: row of a batch '0000000000' that was not"),
        ({"answer": "loggin"}, "back.jsonl:2: 'loggin' is none of the labels"),
        ({"answer": ["a", "b"]}, "back.jsonl:2: .* several answers; leave one"),
    ],
)
def test_a_row_that_is_not_as_it_was_handed_out_is_refused_with_its_line(
    made: Settings,
    tmp_path: Path,
    write_lines: Callable[..., Path],
    change: dict[str, Any],
    message: str,
) -> None:
    rows = handed_out(made, tmp_path)
    rows[1] |= change
    with pytest.raises(BadInput, match=message):
        take([write_lines("back.jsonl", *rows)], made)
    assert not (tmp_path / "labels").exists()
    repeated = [*handed_out(made, tmp_path), rows[2] | {"answer": "parcel"}]
    repeated[2]["answer"] = "login"
    with pytest.raises(BadInput, match=r"back.jsonl:61: .*in another way at .*back.jsonl:3"):
        take([write_lines("back.jsonl", *repeated)], made)


def test_where_two_people_disagree_neither_answer_counts(
    made: Settings, tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    rows = handed_out(made, tmp_path, by="Ann")
    other = [row | {"by": "Bea"} for row in rows]
    other[0]["answer"] = "login" if rows[0]["answer"] != "login" else "billing"
    taken = take([write_lines("a.jsonl", *rows), write_lines("b.jsonl", *other)], made)
    assert taken.taken == 59
    assert len(taken.disagreements) == 1 and "a.jsonl:1" in taken.disagreements[0]
    assert "agree on 59 (Cohen's kappa 0.9" in taken.agreement
    assert kappa([("a", "a"), ("b", "b")]) == 1 and abs(kappa([("a", "b"), ("b", "a")]) + 1) < 1e-9


def test_the_gain_is_measured_on_random_rows_or_not_decided(
    made: Settings, tmp_path: Path, write_lines: Callable[..., Path]
) -> None:
    path = write_lines("back.jsonl", *handed_out(made, tmp_path, 100))
    learned, hardness = take([path], made).gain
    # Of a label that the training data has not, the chosen rows teach more than random ones.
    assert learned.clusters >= 15 and learned.low is not None
    assert learned.difference == pytest.approx(learned.chosen - learned.random, abs=1e-6)
    assert learned.difference < 0
    assert not hardness.decided and "no champion" in hardness.sentence
    (tmp_path / "out.jsonl").unlink()
    few = handed_out(made, tmp_path, 10)
    learned, _ = take([write_lines("few.jsonl", *few)], made).gain
    assert not learned.decided and "too few" in learned.sentence


def test_the_champion_is_asked_and_its_answers_are_suggested(
    make_settings: Make, tiny_base: Path, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    chats = [
        {"messages": [{"role": "system", "content": "Be brief."},
                      {"role": "user", "content": f"What does f{n} do?"}]}
        for n in range(20)
    ]  # fmt: skip
    window = write_lines("traffic/w.jsonl", *chats, '{"cut', chats[0])
    made = make_settings(
        curate={"inputs": [str(tmp_path / "none")]},
        evaluate={"max_new_tokens": 4},
        label={"folder": str(tmp_path / "labels"), "asked_rows": 9, "strategy": "uncertainty"},
    )
    out = tmp_path / "o.jsonl"
    found = hand_out([window], 8, "jsonl", out, Known(adapter=tiny_base), made)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert (found.rows, found.as_random, found.unreadable, found.unlabelled) == (8, 2, 1, 20)
    assert sum("nats a token" in row["reason"] for row in rows) == 6
    assert all(row["prompt"].startswith("system: Be brief.\n\nuser: What") for row in rows)
    filled = [row | {"answer": f"Answer {n}"} for n, row in enumerate(rows)]
    taken = take([write_lines("back.jsonl", *filled)], made, tiny_base)
    (hardness,) = taken.gain
    assert hardness.random and hardness.chosen and hardness.difference is not None
    answered = [item for item in with_labels(window, made) if getattr(item, "target", None)]
    assert len(answered) == 8 and all(item.system == "Be brief." for item in answered)
    with pytest.raises(BadInput, match="uncertainty asks the champion"):
        hand_out([window], 8, "jsonl", tmp_path / "p.jsonl", Known(), made)


def test_a_model_s_own_answer_is_a_suggestion_and_gives_way(
    make_settings: Make, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [
        {"prompt": f"What does f{n} do?", "completion": f"Guess {n}", "answered_by": "model"}
        for n in range(6)
    ]
    made = make_settings(
        curate={"inputs": [str(tmp_path / "none")]}, watch={"traffic": str(tmp_path / "traffic")}
    )
    window = write_lines("traffic/day 1/part-0.jsonl", *rows)
    out = tmp_path / "o.jsonl"
    hand_out([window], 6, "jsonl", out, Known(), made)
    handed = [json.loads(line) for line in out.read_text().splitlines()]
    assert all(row["suggestion"].startswith("Guess") for row in handed)
    taken = take([write_lines("b.jsonl", *(row | {"answer": "Sorts."} for row in handed))], made)
    assert taken.files == (str(tmp_path / "labels/day 1/part-0.jsonl"),)
    items = list(with_labels(window, made))
    assert [item.target for item in items] == ["Sorts."] * 6
    assert all(is_labelled(item) and len(item.turns) == 2 for item in items)
