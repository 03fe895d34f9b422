"""Metrics by hand, by their properties, and beside the libraries that define them."""

import math
import string
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF
from sklearn.metrics import accuracy_score, f1_score

from tasks.evaluate import METRICS, Item, Score
from tasks.evaluate.aggregation import derive, summarise
from tasks.evaluate.words import common_spans, words
from tasks.settings import Settings

WORDS = ["a", "b", "c", "d", "Ä", "x_1", "7", ",", "."]
ASCII = string.ascii_letters + string.digits + "  _.-'"
PIECES = ["sort", "the", "rows", "of", "a", "frame", "x_1", "größe", "(b)", "."]
PHRASES = st.lists(st.sampled_from(PIECES), max_size=9).map(" ".join)
SENTENCES = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


def score(name: str, answer: str, reference: str) -> float:
    item = Item(
        benchmark="b", id="1", nll=1, tokens=1, answered=True, answer=answer, reference=reference
    )
    found = METRICS.get(name).score(item)
    assert found is not None
    return found


def rouge_l(answer: str, reference: str) -> float:
    return score("rouge_l", answer, reference)


def exact_match(answer: str, reference: str) -> float:
    return score("exact_match", answer, reference)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        # Lin 2004, §3.1: reference S1, candidates S2 (LCS 3 of 4 and 4) and S3 (LCS 2).
        ("police kill the gunman", "police killed the gunman", 3 / 4),
        ("the gunman kill police", "police killed the gunman", 2 / 4),
        # LCS 3 ("the sum array") of 5 and 6 words: 2·3/11.
        ("Compute the sum of array", "Return the total sum, per array.", 6 / 11),
        # LCS 1 of 3 and 1.
        ("no no yes", "Yes!", 2 / 4),
        ("one", "two", 0.0),
        ("", "two", 0.0),
        ("...", "...", 0.0),
    ],
)
def test_rouge_l_by_hand(answer: str, reference: str, expected: float) -> None:
    assert rouge_l(answer, reference) == pytest.approx(expected)


@settings(max_examples=200, deadline=None)
@given(SENTENCES, SENTENCES)
def test_rouge_l_is_bounded_and_symmetric(one: str, other: str) -> None:
    found = rouge_l(one, other)
    assert 0 <= found <= 1
    assert found == rouge_l(other, one)


@settings(max_examples=100, deadline=None)
@given(SENTENCES)
def test_rouge_l_of_a_text_with_itself_is_one(text: str) -> None:
    assume(words(text))
    assert rouge_l(text, text.upper()) == 1


@settings(max_examples=200, deadline=None)
@given(SENTENCES, SENTENCES)
def test_rouge_l_uses_the_longest_common_subsequence(one: str, other: str) -> None:
    left, right = words(one), words(other)
    assume(left and right)
    # The textbook's table.
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, a in enumerate(left, start=1):
        for j, b in enumerate(right, start=1):
            above = max(table[i - 1][j], table[i][j - 1])
            table[i][j] = table[i - 1][j - 1] + 1 if a == b else above
    longest = table[-1][-1]
    expected = 2 * longest / (len(left) + len(right))
    assert rouge_l(one, other) == pytest.approx(expected)
    # The spans that a reader sees marked are the words that were counted.
    spans = common_spans(one, other)
    assert len(spans) == longest
    assert all(one[start:end].lower() in right for start, end in spans)
    assert spans == sorted(spans)


@settings(max_examples=150, deadline=None)
@given(st.text(ASCII, max_size=40), st.text(ASCII, max_size=40))
def test_rouge_is_that_of_rouge_score_on_ascii(answer: str, reference: str) -> None:
    kinds = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
    expected = RougeScorer(list(kinds.values())).score(reference, answer)
    for name, kind in kinds.items():
        assert score(name, answer, reference) == expected[kind].fmeasure


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("Größe prüfen", "größe PRÜFEN!", 1.0),
        ("вернуть сумму", "вернуть разность", 1 / 2),
        ("返回总和", "返回平均", 2 / 4),  # words of one character, as there are no spaces
        ("sort_values", "sort values", 1.0),
    ],
)
def test_rouge_knows_the_words_of_any_script(answer: str, reference: str, expected: float) -> None:
    assert score("rouge_1", answer, reference) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("The cat sat.", "a cat sat", 1.0),
        # 2 shared of 3 and 4 words.
        ("cat sat down", "cat sat the mat there", 4 / 7),
        ("cat cat", "cat", 2 / 3),
        ("", "cat", 0.0),
        ("the", "a", 1.0),
    ],
)
def test_token_f1_is_that_of_squad(answer: str, reference: str, expected: float) -> None:
    assert score("token_f1", answer, reference) == pytest.approx(expected)


# Figures of a corpus


def corpus(name: str, answers: Sequence[str], references: Sequence[str]) -> float:
    """The figure of a metric from the sums over all items."""
    items = [
        Item(benchmark="b", id=str(i), nll=1, tokens=1, answered=True, answer=a, reference=r)
        for i, (a, r) in enumerate(zip(answers, references, strict=True))
    ]
    metric = METRICS.get(name).on(items)
    assert metric is not None
    totals = [metric.totals(item, metric.score(item) or 0.0) for item in items]
    return float(metric.figure(np.sum(totals, axis=0)))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(PHRASES, PHRASES), min_size=1, max_size=6))
def test_bleu_and_chrf_of_a_corpus_are_those_of_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    answers, references = map(list, zip(*pairs, strict=True))
    bleu = BLEU(force=True).corpus_score(answers, [references]).score
    assert corpus("bleu", answers, references) == pytest.approx(bleu, abs=1e-9)
    chrf = CHRF().corpus_score(answers, [references]).score
    assert corpus("chrf", answers, references) == pytest.approx(chrf, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcx"), st.sampled_from("abc")), min_size=9))
def test_accuracy_and_macro_f1_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    answers, references = map(list, zip(*pairs, strict=True))
    labels = sorted(set(references))
    assume(len(labels) > 1)
    expected = f1_score(references, answers, labels=labels, average="macro", zero_division=0)
    assert corpus("macro_f1", answers, references) == pytest.approx(expected)
    assert corpus("accuracy", answers, references) == accuracy_score(references, answers)


def test_bits_per_byte_counts_the_bytes_of_the_text() -> None:
    items = [Item(benchmark="b", id=str(i), nll=math.log(2) * 12, tokens=2, target_bytes=4 + i % 3)
             for i in range(30)]  # fmt: skip
    found = summarise(items, [METRICS.get("bits_per_byte")], Settings())
    score = found.scores["bits_per_byte"]
    assert score is not None
    assert score.value == pytest.approx(12 / 5)


# Where a metric applies


def scores(name: str, references: Sequence[str], answers: Sequence[str]) -> Score | None:
    items = [
        Item(benchmark="b", id=str(i), nll=1, tokens=1, answered=True, answer=a, reference=r)
        for i, (r, a) in enumerate(zip(references, answers, strict=True))
    ]
    return summarise(items, [METRICS.get(name)], Settings()).scores[name]


def test_labels_are_few_and_recur() -> None:
    prose = [f"Return the sum of {i}." for i in range(30)]
    assert scores("accuracy", prose, prose) is None
    assert scores("macro_f1", prose, prose) is None
    assert scores("accuracy", ["yes"] * 30, ["yes"] * 30) is None, "one label is no choice"
    labels = ["Positive", "negative"] * 15
    found = scores("accuracy", labels, ["positive."] * 30)
    assert found and found.value == 0.5


@pytest.mark.parametrize(
    ("name", "reference", "answer", "expected"),
    [
        ("valid_json", '{"a": [1]}', "```json\n[1, 2]\n```", 1.0),
        ("valid_json", "[1]", '{"a": NaN}', 0.0),
        ("valid_json", "[1]", "[" * 100_000, 0.0),
        ("valid_json", "[1]", "17", 0.0),
        ("valid_json", "17", "17", None),
        ("valid_json", "Return 1.", "[1]", None),
        ("valid_python", "x = 1", "~~~python\ndef f():\n    return 1\n~~~", 1.0),
        ("valid_python", "print(1)", "print(1", 0.0),
        ("valid_python", "print(1)", "", 0.0),
        ("valid_python", "print(1)", "x = '\\d'", 1.0),
        ("valid_python", "print(1)", "(" * 10_000, 0.0),
        ("valid_python", "print(1)", "a\0b", 0.0),
        ("valid_python", "read-only", "read-only", None),
        ("valid_python", "yes", "yes", None),
        ("repetition", "x", "a b c d " * 3, 1 - 4 / 9),
        ("repetition", "x", "a b c", 0.0),
        ("length_ratio", "four", "fourfour", 2.0),
        ("length_ratio", "", "four", None),
    ],
)
def test_form_by_hand(name: str, reference: str, answer: str, expected: float | None) -> None:
    item = Item(
        benchmark="b", id="1", nll=1, tokens=1, answered=True, answer=answer, reference=reference
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = METRICS.get(name).score(item)
    assert found == (expected and pytest.approx(expected))


def test_speed_is_tokens_by_seconds_and_has_an_interval_over_batches() -> None:
    items = [
        Item(benchmark="b", id=str(i), nll=1, tokens=1, answered=True, new_tokens=8,
             seconds=2.0 + i // 2, at_once=2)
        for i in range(24)
    ]  # fmt: skip
    metrics = [METRICS.get("latency"), METRICS.get("tokens_per_second")]
    found = summarise(items, metrics, Settings()).scores
    latency, speed = found["latency"], found["tokens_per_second"]
    assert latency and speed
    assert latency.value == pytest.approx(7.5)
    assert speed.value == pytest.approx(24 * 8 / sum(2.0 + i for i in range(12)), abs=1e-6)
    assert latency.clusters in (0, 12)


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("Return the  sum.", "return the sum", True),
        ("ﬁt the model", "Fit the model.", True),
        ("Return -1.", "Return 1.", False),
        ("Return the sum", "Return a sum", False),
        ("3.5", "35", False),
    ],
)
def test_exact_match_forgives_case_space_and_full_stop(
    answer: str, reference: str, same: bool
) -> None:
    assert exact_match(answer, reference) == same


def test_a_perplexity_beyond_all_numbers_is_none() -> None:
    perplexity = METRICS.get("perplexity")
    assert derive(perplexity, Score(value=2.0, low=1.0, high=701.0, n=9)) is None
    assert derive(perplexity, Score(value=2.0, low=1.0, high=3.0, n=9)) == Score(
        value=7.389056, low=2.718282, high=20.085537, n=9
    )
