"""Templates and facts: what records differ in decides whether they are near-duplicates."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tasks.curate import curate
from tasks.curate.steps.duplicates import facts, signatures, templates
from tasks.curate.text.ngrams import hash_words, mix
from tasks.settings import Settings

WORDS = [a + b + c for a in ("ka", "lo", "mi", "ru", "se") for b in "bdgnst" for c in ("a", "eth")]
LABELS = ("positive", "negative", "neutral")


def random_words(seed: str, words: int) -> list[str]:
    return random.Random(seed).choices([a + b for a in WORDS for b in WORDS], k=words)


def filled(template: int, number: int, frame: int = 40, slot: int = 6) -> dict:
    """A record of an instruction, with an input and a label."""
    return {
        "id": f"t{template}-{number}",
        "instruction": " ".join(random_words(f"frame {template}", frame)),
        "input": " ".join(random_words(f"slot {template} {number}", slot)),
        "output": LABELS[number % 3],
    }


def changed(record: dict, seed: int, words: int = 1) -> dict:
    """A copy of which some words of the instruction are others."""
    rng = random.Random(seed)
    copy = record["instruction"].split()
    for i in rng.sample(range(len(copy)), words):
        copy[i] = f"changed{rng.choice(WORDS)}"
    return record | {"id": f"{record['id']}-copy{seed}", "instruction": " ".join(copy)}


@pytest.fixture
def dropped(
    tmp_path: Path, make_settings: Callable[..., Settings], write_lines: Callable[..., Path]
) -> Callable[..., dict[str, str]]:
    """Curates rows and gives the reason of each that is dropped."""

    def run(*rows: dict, protect: float | None = None) -> dict[str, str]:
        source = write_lines("rows.jsonl", *rows)
        settings = make_settings(curate={"protect_splits": protect})
        curate([str(source)], [], tmp_path / "out", settings)
        lines = (tmp_path / "out" / "dropped.jsonl").read_text(encoding="utf-8").splitlines()
        return {row["id"]: row["reason"] for row in map(json.loads, lines)}

    return run


@pytest.mark.parametrize(("count", "size"), [(1, 3), (20, 3), (25, 14), (4, 100)])
def test_records_of_one_template_stay_whatever_its_share(
    dropped: Callable[..., dict[str, str]], count: int, size: int
) -> None:
    rows = [filled(template, number) for template in range(count) for number in range(size)]
    alone = [
        {"id": f"alone{n}", "text": " ".join(random_words(f"alone {n}", 60))} for n in range(20)
    ]
    assert dropped(*rows, *alone, protect=0.6) == {}


@pytest.mark.parametrize("slot", [2, 12, 25])
def test_a_copy_inside_a_template_is_found_and_nothing_else(
    dropped: Callable[..., dict[str, str]], slot: int
) -> None:
    rows = [filled(0, number, 60, slot) for number in range(60)]
    copies = [changed(row, 1) for row in rows[:10]]
    assert dropped(*rows, *copies) == {row["id"]: "near_duplicate" for row in copies}


def test_many_copies_of_one_record_are_no_template(
    dropped: Callable[..., dict[str, str]],
) -> None:
    record = filled(0, 0, 80)
    copies = [changed(record, seed, 2) for seed in range(1, 12)]
    assert dropped(record, *copies, filled(1, 0)) == {row["id"]: "near_duplicate" for row in copies}


def test_a_template_inside_another_is_found(dropped: Callable[..., dict[str, str]]) -> None:
    header = " ".join(random_words("header", 60))
    rows = [
        row | {"instruction": f"{header} {row['instruction']}"}
        for row in (filled(template, number, 20, 4) for template in range(8) for number in range(8))
    ]
    assert dropped(*rows) == {}


def test_two_records_under_one_instruction_differ_by_input_or_answer(
    dropped: Callable[..., dict[str, str]],
) -> None:
    first = filled(0, 0, 60)
    other_input = filled(0, 3, 60)
    other_answer = first | {"id": "other answer", "output": "negative"}
    assert first["output"] == other_input["output"]
    assert dropped(first, other_input, other_answer, filled(1, 0), protect=0.6) == {}


def test_a_held_out_record_of_a_template_is_guarded_by_its_own_words(
    tmp_path: Path, dropped: Callable[..., dict[str, str]]
) -> None:
    rows = [filled(template, number, 40, 12) for template in range(10) for number in range(10)]
    assert dropped(*rows, protect=0.6) == {}
    lines = (tmp_path / "out" / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    held_out = [row for row in rows if row["id"] in {json.loads(line)["id"] for line in lines}]
    assert held_out
    longer = []
    for row in held_out:
        told = f"{row['instruction']} {row['input']} {row['output']}"
        around = random_words(row["id"], 60)
        text = f"{' '.join(around[:30])} {told} {' '.join(around[30:])}"
        longer += [{"id": f"{row['id']} in {n}", "text": f"{text} {n}"} for n in range(8)]
    found = dropped(*rows, *longer, protect=0.6)
    trained = (tmp_path / "out" / "train.jsonl").read_text(encoding="utf-8")
    assert found.keys() <= {row["id"] for row in longer}
    assert not [row["id"] for row in longer if json.dumps(row["id"]) in trained]


@given(st.randoms(use_true_random=False), st.integers(3, 12))
@hypothesis(max_examples=25, deadline=None)
def test_templates_are_found_whatever_the_order(rng: random.Random, size: int) -> None:
    texts = [
        " ".join([*random_words(f"frame {t}", 30), *random_words(f"slot {t} {n}", 5)])
        for t in range(3)
        for n in range(size)
    ]
    order = rng.sample(range(len(texts)), len(texts))

    def found(texts: list[str]) -> list[int]:
        words = hash_words(texts)
        shingled, single = signatures.shingles(words), signatures.single_words(words)
        columns = [*signatures.bands(shingled), shingled.first()]
        keys = mix(np.array([hash_words([text]).hashes.sum() for text in texts], np.uint64))
        return templates.frames(
            np.arange(len(texts)), columns.__getitem__, shingled.take, single.take, keys
        ).tolist()

    # 26 5-grams of 30 words each.
    assert len(found(texts)) == 3 * 26
    assert found([texts[i] for i in order]) == found(texts)


CODE = "def relation(a, b):\n    if a {} b:\n        return a\n    return b"
SAME_WORDS = [
    (CODE.format("<"), CODE.format(">")),
    (CODE.format("=="), CODE.format("!=")),
    ("total = first + second", "total = first - second"),
    ("x = a * b", "x = a / b"),
    ("if not ready: wait()", "if ready: wait()"),
    ("[[ -z $value ]] && exit", "[[ ! -z $value ]] && exit"),
    ("The sum of 12 and 5", "The sum of 12 and 7"),
    ("It is -5 degrees", "It is 5 degrees"),
    ("It costs $5 each", "It costs €5 each"),
    ("The whale is a fish", "The whale is not a fish"),
    ("The whale isn't a fish", "The whale is a fish"),
    ("You can stop here", "You cannot stop here"),
    ("Choose two of them", "Choose three of them"),
    ("a ≤ b holds", "a ≥ b holds"),
    ("这是对的", "这是不对的"),
    ("written in C", "written in C++"),
    ("Great 👍", "Great 👎"),
]
SAME_SENSE = [
    ("Stop, please. Now", "stop please now!"),
    ("- item\n- other", "* item\n* other"),
    ("> quoted line\n> other", "quoted line\nother"),
    ("Title\n=====\ntext", "# Title\n\ntext"),
    ("a *very* good one", "a very good one"),
    ("well-known, and/or liked", "well known and or liked"),
    ("He said: “no” – then left", 'He said "no" - then left'),
    ("isn't it", "is not it"),
    ("Bonjour ! Comment", "Bonjour! Comment"),
]


def facts_of(text: str) -> facts.Facts:
    return facts.Facts.of([text], "", "")


@pytest.mark.parametrize(("first", "second"), SAME_WORDS)
def test_signs_numbers_and_negations_tell_records_apart(first: str, second: str) -> None:
    assert facts.contradict(facts_of(first), facts_of(second), False)
    assert facts.lacks_own_content(facts_of(first), facts_of(second))


@pytest.mark.parametrize(("first", "second"), SAME_SENSE)
def test_punctuation_and_marks_do_not(first: str, second: str) -> None:
    assert not facts.contradict(facts_of(first), facts_of(second), False)


@pytest.mark.parametrize(("first", "second"), SAME_WORDS)
def test_long_records_that_differ_in_a_sign_only_are_two(
    dropped: Callable[..., dict[str, str]], first: str, second: str
) -> None:
    around = " ".join(random_words("around", 60))
    rows = [
        {"id": name, "text": f"{around}.\n{text}\n{around}"}
        for name, text in [("a", first), ("b", second)]
    ]
    assert dropped(*rows, {"id": "c", "text": " ".join(random_words("c", 30))}, protect=0.6) == {}


def test_a_changed_word_beside_a_changed_number_is_still_a_copy(
    dropped: Callable[..., dict[str, str]],
) -> None:
    words = random_words("text", 80)
    copy = [*words[:40], "changed", *words[41:]]
    rows = [
        {"id": "a", "text": " ".join([*words, "page 3"])},
        {"id": "b", "text": " ".join([*copy, "page 4"])},
    ]
    assert dropped(*rows, filled(0, 0)) == {"b": "near_duplicate"}


def test_powers_are_no_numbers_with_more_digits(dropped: Callable[..., dict[str, str]]) -> None:
    text = (
        "Everybody should know by heart that {} is one of the larger numbers, if not the largest."
    )
    rows = [{"id": "a", "text": text.format("2⁵")}, {"id": "b", "text": text.format("25")}]
    assert dropped(*rows, filled(0, 0)) == {}
