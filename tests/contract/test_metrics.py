"""What holds for every metric: those of Perpetune, and one as a user writes it."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.evaluate import METRICS, Item, Metric
from tasks.evaluate.aggregation import item_score, summarise
from tasks.evaluate.results import BenchmarkResult
from tasks.settings import Settings


class WordRatio(Metric):
    """Words of the answer for each word of the reference."""

    name = "word_ratio"
    label = "word ratio"
    unit = "words a word"
    better = "lower"
    needs = "answers"

    def score(self, item: Item) -> float | None:
        """None without a word in the reference."""
        words = len(item.reference.split())
        return len(item.answer.split()) / words if words else None


MEMBERS = [*METRICS, WordRatio()]
REFERENCES = ("Sort the rows.", '{"sort": ["rows"]}', "rows.sort(key=len)")
"""Prose (or a label, as it recurs), JSON and Python: every metric applies to one of them."""
SETTINGS = Settings()
TEXTS = st.text(max_size=30)

pytestmark = pytest.mark.parametrize("metric", MEMBERS, ids=lambda metric: metric.name)


def answered(answer: str, reference: str, nll: float = 2.0, number: int = 0) -> Item:
    return Item(
        benchmark="b", id=str(number), nll=nll, tokens=4, target_bytes=len(reference.encode()),
        prompt="Say it.", answered=True, reference=reference, answer=answer,
        new_tokens=1 + len(answer), seconds=(nll * (1 + len(answer)) + number // 2) / 8, at_once=2,
    )  # fmt: skip


def items(count: int) -> list[Item]:
    """Answers right and wrong to references that recur, of several kinds."""
    return [
        answered(
            REFERENCES[i % 3] if i % 4 else ["sort rows", "Drop a column.", ""][i % 3],
            REFERENCES[i % 3],
            nll=1.0 + i % 5,
            number=i,
        )
        for i in range(count)
    ]


def all_like(answer: str | None, nll: float) -> list[Item]:
    """The same answer to all, or each reference itself."""
    return [
        answered(answer or REFERENCES[i % 3], REFERENCES[i % 3], nll, number=i) for i in range(36)
    ]


def test_it_says_what_it_is(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert metric.name not in Item.model_fields | BenchmarkResult.model_fields
    assert metric.label.strip()
    assert metric.better in ("lower", "higher", "near 1")
    assert metric.direction == {"lower": -1, "higher": 1, "near 1": 0}[metric.better]
    assert metric.needs in ("losses", "answers")
    assert metric.aspect in ("likelihood", "content", "form", "speed")
    assert metric.about.endswith(f"{metric.better} is better")
    assert type(metric).__doc__ and type(metric).__doc__ != Metric.__doc__
    assert metric.caveat == "" or metric.caveat.endswith(".")


def test_what_it_derives_from_is_a_metric_with_scores(metric: Metric) -> None:
    if metric.derived_from is None:
        return
    source = METRICS.get(metric.derived_from)
    assert source.derived_from is None
    assert (source.better, source.needs) == (metric.better, metric.needs)
    values = [metric.transform(value) for value in (0.5, 1.0, 2.0)]
    assert values == sorted(values), "the ends of an interval would change places"
    assert metric.score(items(1)[0]) is None


@hypothesis_settings(max_examples=60, deadline=None)
@given(answer=TEXTS, reference=TEXTS, nll=st.floats(0, 1e6))
def test_any_item_has_a_finite_score_or_none_and_always_the_same(
    metric: Metric, answer: str, reference: str, nll: float
) -> None:
    item = answered(answer, reference, nll)
    applied = metric.on([item] * 12)
    if applied is None:
        return
    score = metric.score(item)
    assert score is None or math.isfinite(score)
    assert applied.score(item) == score
    if score is not None:
        totals = applied.totals(item, score)
        assert math.isfinite(applied.figure(np.array(totals)))
        assert all(map(math.isfinite, totals))
        if applied.bounds is not None:
            assert applied.bounds[0] <= score <= applied.bounds[1] + 1e-9


def test_a_system_that_answers_like_the_reference_is_not_worse(metric: Metric) -> None:
    right, wrong = all_like(None, 1.0), all_like("No idea, no idea: " * 9, 9.0)
    scores = [summarise(found, [metric], SETTINGS).scores[metric.name] for found in (right, wrong)]
    assert scores[0] and scores[1]
    better, worse = scores[0].value, scores[1].value
    if metric.direction:
        assert metric.direction * (better - worse) > 0
    else:
        assert better == 1 != worse


def test_the_figure_is_in_its_interval_and_survives_json(metric: Metric) -> None:
    result = summarise(items(36), [metric], SETTINGS)
    score = result.scores[metric.name]
    assert score is not None
    assert score.low <= score.value <= score.high
    assert 0 < score.n <= 36
    assert summarise(items(36), [metric], SETTINGS) == result
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert plain[metric.name]["value"] == score.value
    assert BenchmarkResult.from_json(plain) == result


def test_without_answers_a_metric_of_answers_has_no_score(metric: Metric) -> None:
    unanswered = [
        Item(benchmark="b", id=str(i), nll=1.0, tokens=4, target_bytes=9) for i in range(20)
    ]
    found = summarise(unanswered, [metric], SETTINGS).scores[metric.name]
    assert (found is None) == (metric.needs == "answers")
    assert metric.needs == "losses" or item_score(unanswered[0], metric) is None


def test_figures_are_computed_for_many_draws_at_once(metric: Metric) -> None:
    if metric.derived_from is not None:
        return
    applied = metric.on(items(12))
    assert applied is not None
    scored = [(item, score) for item in items(12) if (score := metric.score(item)) is not None]
    rows = [applied.totals(item, score) for item, score in scored]
    sums = np.array([np.sum(rows[:2], axis=0), np.sum(rows, axis=0)])
    found = applied.figure(sums)
    assert found.shape == (2,)
    assert found[1] == pytest.approx(float(applied.figure(sums[1])))
