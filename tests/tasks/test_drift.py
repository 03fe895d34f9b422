import html
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.core.errors import BadInput
from tasks.drift import DriftResult, detect
from tasks.drift.descriptors import descriptors
from tasks.drift.explanation import shifted_terms
from tasks.drift.features import Features, mean_difference
from tasks.drift.groups import units
from tasks.drift.permutation import Outcome, permutation_test
from tasks.drift.results import RowCounts
from tasks.drift.rows import rows_of
from tasks.drift.vectors import form, wording
from tasks.records import parse
from tasks.settings import Settings

SETTINGS = Settings.model_validate({"drift": {"permutations": 200}})
SUBJECTS = "the parser|a matrix|each index|our cache|the reader|one column|a socket|the queue"
VERBS = "returns|drops|joins|sorts|keeps|rewrites|measures|opens"
OBJECTS = "rows|values|a handle|every key|bytes|its labels|two blocks|missing data"


def sentences(count: int, seed: int, *extra: str) -> list[str]:
    """Distinct sentences from one small grammar; `extra` words replace objects in every one."""
    draw_from = random.Random(seed)
    parts = [SUBJECTS.split("|"), VERBS.split("|"), list(extra) or OBJECTS.split("|")]
    made: dict[str, None] = {}
    while len(made) < count:
        words = [draw_from.choice(part) for part in parts]
        made[f"{' '.join(words)} at step {draw_from.randrange(10_000)}"] = None
    return list(made)


@pytest.fixture
def write(write_lines: Callable[..., Path]) -> Callable[..., Path]:
    def prompts(name: str, texts: list[str]) -> Path:
        return write_lines(name, *({"prompt": text} for text in texts))

    return prompts


def test_a_new_kind_of_prompt_is_drift_with_the_smallest_p_value(write: Callable[..., Path]):
    reference = write("reference.jsonl", sentences(120, 1))
    current = write("current.jsonl", sentences(60, 2, "sonnets", "old ballads", "rhymes"))
    result = detect(reference, current, SETTINGS)
    assert result.drift is True
    assert result.p_value == 1 / (result.permutations + 1)
    assert result.rows == RowCounts(reference=120, current=60)
    terms = {row.term: row for row in result.shifted_terms}
    assert terms["sonnets"].reference_share == 0
    assert terms["sonnets"].current_share > 0.2
    assert terms["sonnets"].z > 0


def test_longer_prompts_of_the_same_words_are_drift_of_form(write: Callable[..., Path]):
    reference = write("reference.jsonl", sentences(120, 1))
    pairs = sentences(120, 2)
    longer = [f"{one} {two}" for one, two in zip(pairs[::2], pairs[1::2], strict=True)]
    tests = detect(reference, write("current.jsonl", longer), SETTINGS).tests
    assert {test.name: test.p_value for test in tests}["form"] < 0.01


def test_a_partial_shift_is_found_and_its_rows_are_shown(write: Callable[..., Path]):
    reference = write("reference.jsonl", sentences(300, 1))
    mixed = sentences(105, 2) + sentences(45, 3, "sonnets", "old ballads", "rhymes")
    result = detect(reference, write("current.jsonl", mixed), SETTINGS)
    assert result.drift
    assert len(result.examples) == 5
    assert all(re.search("sonnets|ballads|rhymes", row.text) for row in result.examples)


def test_the_same_kind_of_prompt_is_no_drift(write: Callable[..., Path]):
    texts = sentences(200, 1)
    result = detect(
        write("reference.jsonl", texts[:140]), write("current.jsonl", texts[140:]), SETTINGS
    )
    assert result.drift is False
    assert result.p_value > 0.05


def test_identical_files_give_p_one(write: Callable[..., Path]):
    path = write("reference.jsonl", sentences(80, 1))
    result = detect(path, path, SETTINGS)
    assert result.p_value == 1
    assert not result.drift


def test_the_contract_and_that_a_test_at_its_threshold_decides(write: Callable[..., Path]):
    reference = write("reference.jsonl", sentences(60, 1))
    for texts in (sentences(40, 2), sentences(40, 2, "sonnets")):
        result = detect(reference, write("current.jsonl", texts), SETTINGS)
        plain = result.to_json()
        assert plain.keys() == {
            "drift", "p_value", "alpha", "tests", "rows", "read", "permutations", "regime",
            "regimes", "descriptors", "shifted_terms", "examples", "effective", "not_compared",
            "kinds",
        }  # fmt: skip
        assert plain["alpha"] == 0.01
        for test in plain["tests"]:
            assert test.keys() == {"name", "statistic", "p_value", "threshold"}
        below = [test["p_value"] <= test["threshold"] for test in plain["tests"]]
        assert plain["drift"] is any(below)
        assert plain["p_value"] == min(test["p_value"] for test in plain["tests"])
        assert DriftResult.from_json(json.loads(json.dumps(plain, allow_nan=False))) == result


def outcome(
    features: dict[str, np.ndarray],
    is_current: np.ndarray,
    seed: int = 0,
    units: np.ndarray | None = None,
    **options: float,
) -> Outcome:
    found = {
        name: Features(matrix.astype(np.float32), np.ones(len(matrix), bool), mean_difference)
        for name, matrix in features.items()
    }
    units = np.arange(len(is_current)) if units is None else units
    options = {"alpha": 0.05, "permutations": 199} | options
    return permutation_test(found, units, is_current, seed=seed, **options)


@pytest.mark.parametrize("in_a_unit", [1, 3])
def test_false_alarms_come_as_often_as_alpha_allows(in_a_unit: int):
    # 300 windows without drift, p-values are uniform; rows of a unit are copies of each other.
    texts = sentences(600, 5)
    features = {"wording": wording(texts, 2000, 0), "form": form(texts)}
    p_values = []
    for number in range(300):
        chosen = np.random.default_rng(number).permutation(600)[:90]
        rows = np.repeat(chosen, in_a_unit)
        is_current = np.repeat(np.arange(90) < 30, in_a_unit)
        units = np.repeat(np.arange(90), in_a_unit)
        drawn = {name: matrix[rows] for name, matrix in features.items()}
        p_values.append(outcome(drawn, is_current, number, units).p_value)
    # Four standard errors of a binomial share around the nominal level.
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        spread = 4 * (level * (1 - level) / 300) ** 0.5
        assert level - spread < np.mean(np.array(p_values) <= level) < level + spread


@hypothesis_settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(4, 24),
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**16),
    shift=st.sampled_from([0.0, 0.5, 5.0]),
)
def test_p_values_are_shares_of_labellings_and_symmetric(
    rows: int, share: float, seed: int, shift: float
):
    features = np.random.default_rng(seed).normal(size=(rows, 3))
    is_current = np.zeros(rows, dtype=bool)
    is_current[: min(max(round(share * rows), 1), rows - 1)] = True
    features[is_current] += shift
    both = {"all": features, "first": features[:, :1]}
    found = outcome(both, is_current, seed)
    for p_value in found.p_values.values():
        assert 1 / (found.permutations + 1) <= p_value <= 1
        shares = p_value * (found.permutations + 1)
        assert shares == pytest.approx(round(shares))
    swapped = outcome(both, ~is_current, seed)
    if 2 * is_current.sum() != rows:  # the same side is drawn
        assert swapped.p_values == found.p_values
    assert swapped.statistics == pytest.approx(found.statistics, rel=1e-4)


def test_the_p_value_is_the_exact_share_of_labellings():
    features = np.array([[0.0], [0.4], [1.0], [3.0], [3.5]])
    is_current = np.array([False, False, False, True, True])
    found = outcome({"one": features}, is_current, permutations=5000)
    # Squared difference of the means, in units of 1/2 + 1/3.
    assert found.statistics["one"] == pytest.approx((3.25 - 1.4 / 3) ** 2 / (5 / 6), rel=1e-5)
    # Of the ten ways to choose two of five rows this is the most extreme one.
    assert found.p_value == pytest.approx(0.1, abs=0.02)


def test_a_second_test_is_corrected_for_and_a_copy_costs_nothing():
    draws = np.random.default_rng(3)
    features = draws.normal(size=(60, 2))
    is_current = np.arange(60) < 20
    features[is_current, 0] += 0.8
    first, noise = features[:, :1], features[:, 1:]
    alone = outcome({"first": first}, is_current, permutations=5000).p_value
    copied = outcome({"first": first, "copy": first}, is_current, permutations=5000).p_value
    both = outcome({"first": first, "noise": noise}, is_current, permutations=5000)
    assert copied == alone
    assert alone < both.p_values["first"] <= 2 * alone + 0.015


def test_labellings_are_drawn_until_alpha_is_resolved_and_no_longer():
    features = np.random.default_rng(1).normal(size=(80, 2))
    is_current = np.arange(80) < 30
    quiet = outcome({"all": features}, is_current, alpha=1e-5)
    assert quiet.p_value > 0.01 and quiet.permutations < 10_000
    features[is_current] += 3
    found = outcome({"all": features}, is_current, alpha=1e-5)
    assert found.p_value <= 1e-5


def test_many_units_are_permuted_in_bundles_at_the_same_level():
    p_values = []
    for number in range(100):
        features = np.random.default_rng(number).normal(size=(2500, 1))
        found = outcome({"all": features}, np.arange(2500) < 1100, number, permutations=99)
        p_values.append(found.p_value)
    assert 0.01 < np.mean(np.array(p_values) <= 0.1) < 0.23
    features[:1100] += 0.2
    assert outcome({"all": features}, np.arange(2500) < 1100).p_value < 0.01


def test_order_of_rows_and_files_and_swapped_sides_change_nothing(
    write: Callable[..., Path], tmp_path: Path
):
    before, now = sentences(90, 1), sentences(45, 2)
    first = detect(write("a.jsonl", before), write("b.jsonl", now), SETTINGS)
    again = detect(write("a.jsonl", before[::-1]), write("b.jsonl", now[::-1]), SETTINGS)
    shuffled_only = {"examples"}  # these name the line, which did change
    for name in DriftResult.model_fields.keys() - shuffled_only:
        assert getattr(again, name) == getattr(first, name), name
    write("parts/two.jsonl", before[:30])
    write("parts/one.jsonl", before[30:])
    parts = detect(tmp_path / "parts", tmp_path / "b.jsonl", SETTINGS)
    assert parts.tests == first.tests
    swapped = detect(tmp_path / "b.jsonl", tmp_path / "a.jsonl", SETTINGS)
    assert swapped.p_value == first.p_value


def test_of_more_rows_than_max_rows_whole_groups_are_compared(write_lines: Callable[..., Path]):
    few = Settings.model_validate({"drift": {"permutations": 100, "max_rows": 60}})
    sides = []
    for number, count in enumerate((200, 90)):
        rows = [
            {"prompt": text, "group": f"{place // 5}"}
            for place, text in enumerate(sentences(count, number))
        ]
        sides.append(write_lines(f"{number}.jsonl", *rows))
    result = detect(*sides, few)
    assert result.rows == RowCounts(reference=60, current=60)
    assert result.effective.current.groups == result.effective.reference.groups == 12


def test_a_window_too_small_is_refused_with_the_remedy(write: Callable[..., Path]):
    enough = write("a.jsonl", sentences(40, 1))
    small = write("b.jsonl", sentences(19, 2))
    for reference, current in ((enough, small), (small, enough)):
        with pytest.raises(BadInput, match=r"b\.jsonl: holds 19 rows to compare \(19 .*min_rows"):
            detect(reference, current, SETTINGS)


def test_a_malformed_line_is_named(write: Callable[..., Path], write_lines: Callable[..., Path]):
    enough = write("a.jsonl", sentences(40, 1))
    with pytest.raises(BadInput, match=r"broken\.jsonl:1: invalid_json"):
        detect(enough, write_lines("broken.jsonl", "{oops"), SETTINGS)
    with pytest.raises(BadInput, match="no such file"):
        detect(enough, Path("nowhere.jsonl"), SETTINGS)


def test_every_format_of_traffic_is_compared_by_its_prompt(
    write: Callable[..., Path], write_lines: Callable[..., Path]
):
    texts = sentences(40, 1)
    reference = write("a.jsonl", texts)
    shapes: list[Callable[[str], dict]] = [
        lambda text: {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": text},
            ]
        },
        lambda text: {
            "messages": [
                {"role": "user", "content": text},
                {"role": "assistant", "content": f"An answer to {text}"},
            ]
        },
        lambda text: {"prompt": text, "completion": "yes"},
        lambda text: {"instruction": text},
        lambda text: {"conversations": [{"from": "human", "value": text}]},
        lambda text: {"text": text},
        lambda text: {"prompt": text, "chosen": "a", "rejected": "b"},
    ]
    for shape in shapes:
        current = write_lines("b.jsonl", *(shape(text) for text in texts))
        result = detect(reference, current, SETTINGS)
        differs = {test.name for test in result.tests if test.p_value < 1}
        assert differs == ({"system"} if "Be brief." in current.read_text() else set())


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=4, max_size=12, unique=True))
def test_any_text_has_finite_measures(texts: list[str]):
    for values in (wording(texts, 100, 0), form(texts), descriptors(texts)):
        assert values.shape[0] == len(texts)
        assert np.isfinite(values).all()


def test_wording_sees_the_end_of_a_long_prompt():
    endings = ["sort the rows", "sort the rows", "open a socket", "open a socket"]
    texts = ["You are a helpful agent. " * 200 + ending for ending in endings]
    near = wording(texts, 200, 0)
    assert np.allclose(near[0], near[1])
    assert not np.allclose(near[0], near[2])


def test_descriptors_count_what_they_say_in_any_script():
    assert descriptors(["Sort it. Then stop!", "日本語。12"]).tolist() == [
        [19, 4, 2, pytest.approx(200 / 19)],
        [6, 1, 2, 50.0],
    ]


def test_a_term_that_did_not_move_ranks_below_one_that_did():
    before = ["the cat sat"] * 50 + ["the dog sat"] * 50
    now = ["the cat sat"] * 10 + ["the fox sat"] * 40
    terms = shifted_terms(before, now)
    assert (terms[0].term, terms[0].reference_share, terms[0].current_share) == ("fox", 0.0, 0.8)
    assert [row.term for row in terms][-2:] == ["sat", "the"]
    assert terms[-1].z == 0
    assert {row.term: row.z < 0 for row in terms}["dog"]


def test_the_report_shows_our_result_first_and_is_self_contained(
    write: Callable[..., Path], tmp_path: Path
):
    reference, current = write("a.jsonl", sentences(60, 1)), write("b.jsonl", sentences(40, 2))
    path = tmp_path / "pages" / "drift.html"
    result = detect(reference, current, SETTINGS, report=path)
    page = path.read_text()
    assert page.index("<h1>No drift</h1>") < page.index('<div id="root_metric_drift">')
    assert f"{result.p_value:.3g}" in page
    assert "Dataset Drift" not in page.split("<script>")[1]  # Evidently's own verdict is left out
    # No tag names an outer file, no style imports one, and the policy forbids what a script asks.
    assert not re.findall(r"<(?:link|iframe|img|script)[^>]*(?:src|href)\s*=", page)
    styles = "".join(re.findall(r"<style>.*?</style>", page, flags=re.DOTALL))
    assert "url(data:font" in styles
    assert not re.findall(r"@import|url\((?!data:)", styles)
    assert page.index("Content-Security-Policy") < page.index("<script")
    assert "default-src 'none'" in page
    assert [file.name for file in path.parent.iterdir()] == ["drift.html"]
    again = tmp_path / "again.html"
    detect(reference, current, SETTINGS, report=again)
    assert again.read_bytes() == path.read_bytes()


def test_hostile_text_is_shown_as_text_in_the_report(
    write_lines: Callable[..., Path], write: Callable[..., Path], tmp_path: Path
):
    attack = "</script><script>alert({n})</script><img src=x onerror=alert({n})>{{{{7*7}}}}"
    rows = [
        {"id": f"<b>{n}</b>", "prompt": attack.format(n=n) + text}
        for n, text in enumerate(sentences(40, 2))
    ]
    current = write_lines("<i>b</i>.jsonl", *rows)
    path = tmp_path / "drift.html"
    result = detect(write("a.jsonl", sentences(60, 1)), current, SETTINGS, report=path)
    page = path.read_text()
    shown = result.examples[0].text
    assert "<script>alert(" in shown
    assert "<script>alert(" not in page
    assert "<img src=x" not in page
    assert "<i>b</i>" not in page
    assert html.escape(shown, quote=True).replace("&#x27;", "&#39;") in page
    assert "{{7*7}}" in page


def chats(count: int, seed: int, **keys: object) -> list[dict]:
    """Rows of traffic with system prompt and answer."""
    return [
        {
            "messages": [
                {"role": "system", "content": keys.get("system", "Be brief.")},
                {"role": "user", "content": text},
                {"role": "assistant", "content": keys.get("answer", f"{text.split()[1]} it is")},
            ]
        }
        for text in sentences(count, seed)
    ]


def differing(result: DriftResult) -> set[str]:
    return {test.name for test in result.tests if test.p_value <= test.threshold}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"answer": "I'm sorry, I can't."}, "answer"),
        ({"system": "Answer like a pirate."}, "system"),
    ],
)
def test_what_drifted_is_named(write_lines: Callable[..., Path], change: dict, name: str):
    reference = write_lines("a.jsonl", *chats(120, 1))
    result = detect(reference, write_lines("b.jsonl", *chats(60, 2, **change)), SETTINGS)
    assert differing(result) == {name}


def test_a_flood_of_a_known_prompt_is_drift_of_frequency_and_retries_are_none(
    write: Callable[..., Path],
):
    texts = sentences(220, 1)
    reference = write("a.jsonl", texts[:150])
    quiet = texts[150:]
    flood = detect(reference, write("b.jsonl", quiet + [texts[0]] * 60), SETTINGS)
    assert "frequency" in differing(flood)
    retried = [f"{text}{mark}" for text in quiet[:40] for mark in ("", " ", "!", " (2)")]
    before = [f"{text}{mark}" for text in texts[:150] for mark in ("", "?")]
    doubled = [f"{text}{mark}" for text in quiet for mark in ("", "?")]
    assert not detect(write("a.jsonl", before), write("b.jsonl", doubled), SETTINGS).drift
    result = detect(reference, write("b.jsonl", quiet + retried[1:]), SETTINGS)
    assert result.effective.current.groups < 100 < result.rows.current
    assert result.effective.current.rows < result.rows.current


def test_units_are_groups_or_clusters_of_near_copies():
    asked = "how do I rename a column in pandas without copying"
    other = "what is the boiling point of water on mount everest"
    said = [asked, f"please {asked}", f"{asked.upper()} (2)", f"{asked} now", other]
    rows = rows_of(parse({"prompt": text}, "f", 1, labelled=False) for text in said)
    current = np.zeros(len(rows), dtype=bool)
    assert list(units(rows, current)) == [0, 0, 0, 0, 1]
    current[3] = True  # a unit is of one side
    assert list(units(rows, current)) == [0, 0, 0, 1, 2]
    grouped = [{"prompt": text, "user": "u" if text == other else "v"} for text in said]
    rows = rows_of(parse(row, "f", 1, labelled=False) for row in grouped)
    assert list(units(rows, np.zeros(5, dtype=bool))) == [0, 0, 0, 0, 1]
    # Copies that make up much of the traffic are no retries.
    rows = rows_of(parse({"prompt": asked}, "f", 1, labelled=False) for _ in range(35))
    assert len(set(units(rows, np.zeros(35, dtype=bool)))) == 4


def test_layout_and_case_count(write: Callable[..., Path]):
    reference = write("a.jsonl", sentences(120, 1))
    for change in (str.upper, str.title, lambda text: text.replace(" ", "\n\t")):
        window = write("b.jsonl", [change(text) for text in sentences(60, 2)])
        assert "form" in differing(detect(reference, window, SETTINGS))


def test_what_one_side_lacks_is_named_with_the_reason(
    write: Callable[..., Path], write_lines: Callable[..., Path]
):
    reference = write("a.jsonl", sentences(120, 1))
    result = detect(reference, write_lines("b.jsonl", *chats(60, 2)), SETTINGS)
    missing = {left_out.name: left_out.reason for left_out in result.not_compared}
    assert missing["answer"] == "no row of the reference has it"
    assert missing["label"] == "no row of either side has it"
    # A system prompt where there was none is a change; a reference of prompts alone cannot tell.
    assert differing(result) == {"system"}
    rows = [{"prompt": text, "drift_regime": "training"} for text in sentences(120, 1)]
    result = detect(write_lines("a.jsonl", *rows), tmp_file(reference, "b.jsonl"), SETTINGS)
    missing = {left_out.name: left_out.reason for left_out in result.not_compared}
    assert missing["system"] == "the reference holds prompts alone"
    assert not result.drift


def tmp_file(beside: Path, name: str) -> Path:
    return beside.with_name(name)


def test_a_window_of_one_group_is_refused_with_the_remedy(write_lines: Callable[..., Path]):
    rows = [{"prompt": text, "session": "one"} for text in sentences(60, 1)]
    reference = write_lines("a.jsonl", *({"prompt": text} for text in sentences(60, 2)))
    with pytest.raises(BadInput, match=r"60 rows are 1 groups, too few .* collect more groups"):
        detect(reference, write_lines("b.jsonl", *rows), SETTINGS)


def test_alpha_of_one_look_goes_before_the_settings(write: Callable[..., Path]):
    reference = write("a.jsonl", sentences(120, 1))
    window = write("b.jsonl", sentences(60, 2, "sonnets", "rhymes"))
    result = detect(reference, window, SETTINGS, alpha=1e-4)
    assert result.alpha == 1e-4 and result.drift and result.permutations >= 9_999
