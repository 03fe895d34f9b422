"""What holds for every feature group of the drift check."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tasks.core.plugins import load_plugins
from tasks.drift.features import FEATURES, FeatureGroup, Pool
from tasks.drift.permutation import permutation_test
from tasks.drift.rows import Row, rows_of
from tasks.records import Record, parse

WORDS = [
    "sort",
    "merge",
    "split",
    "count",
    "print",
    "read",
    "write",
    "move",
    "open",
    "close",
    "keep",
    "drop",
]
COUNT = 60

every_group = pytest.mark.parametrize("group", list(FEATURES), ids=lambda group: group.name)


def chat(number: int, *, shifted: bool) -> dict:
    """A row of traffic with everything that is compared; shifted in all respects."""
    draws = np.random.default_rng(number)
    asked = " ".join(draws.choice(WORDS, 4)) + f" file {number}"
    first = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    prompt = f"bitte sortiere die Zeilen der {number % 3} Datei" if shifted else asked
    messages = [
        {"role": "system", "content": "Answer in one word." if shifted else "Be helpful."},
        *(first if shifted else []),
        {"role": "user", "content": prompt.upper() if shifted else prompt},
        {"role": "assistant", "content": "No." if shifted else f"{asked}: done"},
    ]
    return {
        "id": f"{shifted}-{number}",
        "messages": messages,
        "label": bool(shifted or number % 5 == 0),
        "latency": number / 100 + 3 * shifted,
        "feedback": "down" if shifted else "up",
        "loss": 1 + number / 1000 + shifted,
        "confidence": 0.9 - number / 1000 - 0.4 * shifted,
    }


def rows(*shifted: bool) -> list[Row]:
    found = [parse(chat(number, shifted=way), "f", number, labelled=False)
             for number, way in enumerate(shifted)]  # fmt: skip
    assert all(isinstance(record, Record) for record in found), found
    return rows_of(found)


def pool(found: Sequence[Row]) -> Pool:
    return Pool(found, max_characters=200, most_copies=10, repeats_are_known=True, seed=0)


@every_group
def test_it_names_and_documents_itself(group: FeatureGroup) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", group.name)
    assert group.sentence and not group.sentence.endswith(".")
    assert type(group).__doc__ and type(group).__doc__ != FeatureGroup.__doc__


@every_group
def test_its_features_are_finite_and_the_same_again(group: FeatureGroup) -> None:
    seen = pool(rows(*[False] * COUNT, *[True] * COUNT))
    found, again = group.features(seen), group.features(seen)
    assert found is not None and again is not None
    assert found.matrix.dtype == np.float32 and found.matrix.shape[0] == 2 * COUNT
    assert np.isfinite(found.matrix).all() and found.present.shape == (2 * COUNT,)
    assert np.array_equal(found.matrix, again.matrix)
    assert all(group.text(row) for row in seen.rows if group.text(row) is not None)


@every_group
def test_it_finds_its_own_shift(group: FeatureGroup) -> None:
    found = group.features(pool(rows(*[False] * COUNT, *[True] * COUNT)))
    assert found is not None
    is_current = np.arange(2 * COUNT) >= COUNT
    outcome = permutation_test(
        {group.name: found}, np.arange(2 * COUNT), is_current, alpha=0.05, permutations=99, seed=0
    )
    assert outcome.p_value <= 0.05


@every_group
def test_nothing_to_compare_is_said(group: FeatureGroup) -> None:
    bare = [parse({"prompt": f"{word} it"}, "f", 1, labelled=False) for word in WORDS]
    found = group.features(pool(rows_of(bare)))
    if not group.in_prompts:
        assert found is None
    elif found is not None:
        assert found.present.all()


def test_one_of_your_own_is_a_file(tmp_path: Path) -> None:
    plugin = tmp_path / "questions.py"
    plugin.write_text(
        '''
import numpy as np
from tasks.drift.features import FEATURES, FeatureGroup, Features, mean_difference

@FEATURES.register
class Questions(FeatureGroup):
    """Whether a prompt is a question."""
    name = "questions"
    sentence = "whether prompts are questions"
    in_prompts = True

    def features(self, pool):
        asks = np.array([[row.prompt.rstrip().endswith("?")] for row in pool.rows], np.float32)
        return Features(asks, np.ones(len(asks), bool), mean_difference)

    def text(self, row):
        return row.prompt
'''
    )
    try:
        load_plugins([str(plugin)])
        assert FEATURES.get("questions").in_prompts
    finally:
        FEATURES._members.pop("questions", None)
