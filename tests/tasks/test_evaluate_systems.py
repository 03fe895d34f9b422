"""What a comparison measures beside the benchmarks: traffic, and a classifier where answers are
labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.collect import newest_labelled
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.evaluate import Evidence, Item, Measured, check_benchmarks, traffic
from tasks.evaluate.items import TRAFFIC
from tasks.evaluate.label_baseline import label_notes
from tasks.evaluate.side_by_side import measure_all
from tasks.settings import Settings
from tests.tasks.test_evaluate_few_shot import adapter_on, row


def test_only_prompts_that_nothing_else_has_are_measured(
    write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    train = write_lines("train.jsonl", *(row(i) for i in range(5)))
    bench = write_lines("bench.jsonl", row(5, prompt="Def  SORT_5(x):"))
    rows = [row(i) for i in range(20)]
    unlabelled = {"prompt": "def other(x):"}
    window = write_lines("window.jsonl", *rows, rows[-1], unlabelled, "{broken")
    found = traffic.unseen(window, [train, bench], tmp_path / "out.jsonl")
    assert found is not None
    kept = [line["messages"][0]["content"] for line in files.read_jsonl(found)]
    assert kept == [f"def sort_{i}(x):" for i in range(6, 20)]
    few = write_lines("few.jsonl", *(row(i) for i in range(14)))
    assert traffic.unseen(few, [train, bench], tmp_path / "none.jsonl") is None


def test_the_newest_window_is_the_last_with_labels_that_was_not_adopted(
    write_lines: Callable[..., Path], make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings(
        watch={"traffic": str(tmp_path / "traffic")},
        curate={"feedback": str(tmp_path / "feedback")},
    )
    assert newest_labelled(settings) is None
    labelled = write_lines("traffic/1.jsonl", row(1))
    write_lines("traffic/2.jsonl", row(2))
    write_lines("traffic/3.jsonl", {"prompt": "no answer"})
    write_lines("traffic/4.jsonl", "")
    write_lines("feedback/2.jsonl", row(2))
    assert newest_labelled(settings) == labelled


def test_traffic_is_measured_and_no_gate_looks_at_it(
    write_lines: Callable[..., Path], make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = make_settings(
        evaluate={
            "benchmarks": [str(write_lines("held.jsonl", *(row(i) for i in range(12))))],
            "general_probe": None, "max_generations": 0,
        }
    )  # fmt: skip
    systems = adapter_on(settings, tmp_path)
    window = write_lines("w7.jsonl", *(row(i) for i in range(6, 30)))
    found = measure_all(systems, Evidence(window=window), tmp_path / "out", settings)
    assert [len(items) for items in found.items["base"].values()] == [12, 18]
    assert Measured(found.items, settings).benchmarks == ["held"]
    assert "w7.jsonl: 18 of its labelled records" in found.notes[-1]
    odd = write_lines(
        "w8.jsonl", *({"prompt": f"{i} <|im_end|>", "completion": "x"} for i in range(12))
    )
    found = measure_all(systems, Evidence(window=odd), tmp_path / "odd", settings)
    assert list(found.items["base"]) == ["held"]
    assert "w8.jsonl, the newest labelled window of traffic, is not measured" in found.notes[-1]
    named = [str(write_lines(f"{TRAFFIC}.jsonl", row(1)))]
    taken = make_settings(evaluate={"benchmarks": named, "general_probe": None})
    with pytest.raises(BadInput, match="belongs to the newest window"):
        check_benchmarks(taken)


def answered(labels: list[str], answer: str) -> list[Item]:
    return [
        Item(
            benchmark="mood", id=str(i), nll=1, tokens=1, answered=True, prompt=f"It was {text}!",
            reference=label, answer=answer,
        )
        for i, (text, label) in enumerate(zip(TEXTS * 5, labels, strict=True))
    ]  # fmt: skip


TEXTS = ["good", "very good", "bad", "very bad"]
LABELS = ["positive", "positive", "negative", "negative"]


def test_a_linear_classifier_stands_beside_labels(write_lines: Callable[..., Path]) -> None:
    rows: list[Any] = [
        {"prompt": f"It was {text}, {i}.", "completion": label}
        for i in range(10)
        for text, label in zip(TEXTS, LABELS, strict=True)
    ]
    train = write_lines("train.jsonl", *rows, row(1))
    items = answered(LABELS * 5, "positive")
    measured = Measured({"candidate": {"mood": items}}, Settings(), Evidence(train=train))
    (note,) = label_notes(measured)
    assert "On mood TF-IDF with logistic regression, trained on 40 examples" in note
    assert "an accuracy of 1.000" in note
    assert "the candidate has 0.500" in note
    prose = [item.model_copy(update={"reference": item.id}) for item in items]
    measured = Measured({"candidate": {"mood": prose}}, Settings(), Evidence(train=train))
    assert label_notes(measured) == ()
