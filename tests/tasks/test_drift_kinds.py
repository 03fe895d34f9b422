"""Kinds of shift in words: planted shifts are named, with their numbers."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from tasks import records
from tasks.drift.kinds import KINDS, Shift, name_shifts
from tasks.drift.results import DriftTest, Regime
from tasks.records import Record

VERBS = ["please sort", "quickly merge", "count", "carefully invert"]
OBJECTS = ["the matrix before lunch", "every column twice", "some vectors", "rows in parallel"]
ENDS = ["without copying", "for the report", "by hand", "again", "and print them"]
PARTS = (VERBS, OBJECTS, ENDS)


def rows(count: int, seed: int, **more: Any) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [
        {
            "messages": [
                {"role": "system", "content": "You sort tables."},
                {"role": "user", "content": " ".join(draw.choice(part) for part in PARTS)},
                {"role": "assistant", "content": f"Sorted by column {draw.randrange(20)}."},
            ],
            **more,
        }
        for _ in range(count)
    ]


def parsed(lines: Sequence[dict[str, Any]]) -> tuple[Record, ...]:
    found = [
        records.parse({"id": str(n), **line}, "w", n + 1, labelled=False)
        for n, line in enumerate(lines)
    ]
    assert not any(isinstance(one, records.BadLine) for one in found)
    return tuple(found)


def shift(
    before: Sequence[dict[str, Any]],
    now: Sequence[dict[str, Any]],
    *rejected: str,
    regimes: tuple[Regime, ...] = (Regime(name="training", p_value=0.5, rows=100),),
) -> Shift:
    names = ("wording", "form", "language", "system", "conversation", "frequency", "answer")
    return Shift(
        drift=bool(rejected),
        alpha=0.01,
        tests=tuple(
            DriftTest(
                name=name,
                statistic=0.1,
                p_value=0.001 if name in rejected else 0.4,
                threshold=0.01,
            )
            for name in {*names, *rejected}
        ),
        regime="training",
        regimes=regimes,
        reference=parsed(before),
        current=parsed(now),
    )


def changed(lines: list[dict[str, Any]], turn: int, change: Any) -> list[dict[str, Any]]:
    for line in lines:
        line["messages"][turn]["content"] = change(line["messages"][turn]["content"])
    return lines


def typos(text: str) -> str:
    draw = random.Random(text)
    words = text.split()
    for place, word in enumerate(words):
        if len(word) > 4 and draw.random() < 0.4:
            cut = draw.randrange(1, len(word))
            words[place] = word[:cut] + draw.choice("qxz") + word[cut + 1 :]
    return " ".join(words)


REFERENCE = rows(200, 1)
PLANTED = {
    "new topic": (
        changed(rows(100, 2), 1, lambda text: f"write a sonnet {text}"),
        "wording",
        "sonnet 0% → 100%",
    ),
    "new format": (changed(rows(100, 2), 1, str.upper), "form", "upper-case letters 0% → 100%"),
    "more noise": (changed(rows(100, 2), 1, typos), "wording", "words misspelt by a letter: 0% →"),
    "new language": (
        changed(rows(100, 2), 1, lambda text: "сортируй таблицу по столбцам"),
        "language",
        "Cyrillic 0% → 100%",
    ),
    "new system prompt": (
        changed(rows(100, 2), 0, lambda text: "You are a pirate."),
        "system",
        "100% of the rows have the system prompt “You are a pirate.”",
    ),
    "other conversations": (
        [
            {"messages": [*one["messages"], *two["messages"][1:]]}
            for one, two in zip(rows(100, 2), rows(100, 3), strict=True)
        ],
        "conversation",
        "rows with earlier turns 0% → 100%",
    ),
    "answers changed": (
        changed(rows(100, 2), 2, lambda text: "I cannot help with that."),
        "answer",
        "though the prompts did not: the answer “I cannot help with that.” 0% → 100%",
    ),
    "frequencies changed": (
        rows(40, 2) + rows(1, 7) * 60,
        "frequency",
        "of the requests",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_shift_is_named_with_its_numbers(name: str) -> None:
    now, group, words = PLANTED[name]
    found = name_shifts(shift(REFERENCE, now, group))
    assert [kind.name for kind in found] == [name]
    assert words in found[0].sentence
    assert found[0].remedy == KINDS.get(name).remedy


def test_damaged_characters_are_noise() -> None:
    now = changed(rows(100, 2), 1, lambda text: text + " fÃ¼r alle")
    found = name_shifts(shift(REFERENCE, now, "form"))
    assert "prompts with damaged characters: 0% → 100%" in found[-1].sentence


def test_a_language_of_the_same_script_is_named_where_it_is_clear() -> None:
    now = changed(rows(100, 2), 1, lambda text: "Bitte sortiere die Tabelle nach der ersten Spalte")
    (found,) = name_shifts(shift(REFERENCE, now, "language"))
    assert "de 0% → 100%" in found.sentence
    names = changed(rows(100, 2), 1, lambda text: "sqlalchemy.dialects.mssql MSContext.post(self)")
    found = name_shifts(shift(REFERENCE, names, "language", "wording"))
    assert [kind.name for kind in found] == ["new topic"]


def test_a_new_topic_is_no_noise() -> None:
    now = changed(rows(100, 2), 1, lambda text: "ballad of winter, rhyme on oceans, sonnets")
    assert [kind.name for kind in name_shifts(shift(REFERENCE, now, "wording"))] == ["new topic"]


def test_falling_quality_says_whether_the_input_changed() -> None:
    before = rows(100, 1, meta={"loss": 1.0, "confidence": 0.9})
    now = rows(100, 2, meta={"loss": 1.5, "confidence": 0.95})
    (alone,) = name_shifts(shift(before, now, "loss"))
    assert alone.name == "quality falling"
    assert "on unchanged input" in alone.sentence and "loss 1 → 1.5" in alone.sentence
    assert "confidence" not in alone.sentence
    both = name_shifts(shift(before, now, "loss", "form"))
    assert "beside a change of form" in both[0].sentence
    assert name_shifts(shift(now, before, "loss"))[0].name == "other"


def test_labels_and_response_times() -> None:
    spam = [{"text": "buy", "label": "spam"}, {"text": "hello", "label": "ham"}]
    (found,) = name_shifts(shift(spam * 20, spam[:1] * 30 + spam * 5, "label"))
    assert "“spam” 50% → 88%" in found.sentence
    slow = [row | {"meta": {"latency": 2.5}} for row in rows(20, 2)]
    quick = [row | {"meta": {"latency": 0.5}} for row in rows(20, 2)]
    (found,) = name_shifts(shift(quick, slow, "latency"))
    assert found.sentence == "Median latency 0.5 → 2.5."


def test_a_return_of_known_traffic_is_named_without_drift() -> None:
    regimes = (
        Regime(name="training", p_value=0.4, rows=100),
        Regime(name="data/feedback/w.jsonl", p_value=0.001, rows=50),
    )
    (found,) = name_shifts(shift(REFERENCE, REFERENCE, regimes=regimes))
    assert found.name == "a return of what was known"
    assert "differs from data/feedback/w.jsonl (p = 0.001) and resembles training" in found.sentence
    assert name_shifts(shift(REFERENCE, REFERENCE)) == ()


def test_drift_always_has_a_kind() -> None:
    (found,) = name_shifts(shift(REFERENCE, REFERENCE, "entropy"))
    assert found.name == "other" and "entropy" in found.sentence


@pytest.mark.parametrize("kind", list(KINDS), ids=lambda kind: kind.name)
def test_every_kind_keeps_the_contract(kind: Any) -> None:
    assert kind.remedy[0].isupper() and kind.remedy.endswith(".")
    assert isinstance(kind.order, int)
    # Whatever the rows are, a sentence or nothing; never an error.
    odd = [{"prompt": " "}, {"text": "\ufffd" * 50}, {"prompt": "a", "meta": {"loss": "high"}}]
    for before, now in ((odd, odd), (REFERENCE[:5], odd), (odd, REFERENCE[:5])):
        said = kind.recognise(shift(before, now, *kind.groups))
        assert said is None or said.endswith(".")
