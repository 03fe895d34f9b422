"""ROUGE-L and exact match, by hand and by their properties; perplexity."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.evaluate import METRICS, Item, Score
from tasks.evaluate.aggregation import derive
from tasks.evaluate.words import common_spans, words

WORDS = ["a", "b", "c", "d", "Ä", "x_1", "7", ",", "."]
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
