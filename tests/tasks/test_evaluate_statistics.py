"""Bootstrap intervals."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.evaluate import statistics

NUMBERS = st.floats(-50, 50, allow_nan=False)


def alone(count: int) -> list[str | None]:
    return [None] * count


def test_interval_agrees_with_scipy() -> None:
    draw = np.random.default_rng(1)
    tokens = draw.integers(3, 30, 80)
    losses = tokens * draw.gamma(4, 0.5, 80)
    ours = statistics.ratio([statistics.sample(losses, tokens, alone(80))], 20_000, 0.9, 0)
    theirs = scipy.stats.bootstrap(
        (losses, tokens),
        lambda x, y, axis: x.sum(axis) / y.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.value == pytest.approx(losses.sum() / tokens.sum())
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_clusters_are_drawn_whole() -> None:
    # 20 groups of 25 equal examples hold no more evidence than 20 examples.
    means = np.random.default_rng(3).normal(size=20)
    one_each = statistics.sample(means, np.ones(20), alone(20))
    many = statistics.sample(
        np.repeat(means, 25), np.ones(500), [str(at // 25) for at in range(500)]
    )
    expected = statistics.ratio([one_each], 5000, 0.95, 0)
    wide = statistics.ratio([many], 5000, 0.95, 0)
    assert wide.low == pytest.approx(expected.low)
    assert wide.high == pytest.approx(expected.high)
    independent = statistics.sample(np.repeat(means, 25), np.ones(500), alone(500))
    narrow = statistics.ratio([independent], 5000, 0.95, 0)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_too_few_groups_leave_the_examples_alone() -> None:
    few = statistics.sample(np.arange(30), np.ones(30), [str(at % 9) for at in range(30)])
    enough = statistics.sample(np.arange(30), np.ones(30), [str(at % 10) for at in range(30)])
    assert len(set(few.clusters)) == 30
    assert len(set(enough.clusters)) == 10


def test_examples_without_group_are_clusters_of_their_own() -> None:
    groups = ["a", None, "a", None, *[f"g{at}" for at in range(10)]]
    clusters = statistics.sample(np.ones(14), np.ones(14), groups).clusters
    assert clusters[0] == clusters[2]
    assert len(set(clusters)) == 13


def test_benchmarks_are_drawn_apart() -> None:
    # Two constant benchmarks far from each other: nothing in either of them varies.
    low = statistics.sample(np.zeros(40), np.ones(40), alone(40))
    high = statistics.sample(np.full(40, 10.0), np.ones(40), alone(40))
    found = statistics.ratio([low, high], 500, 0.95, 0)
    assert (found.value, found.low, found.high) == (5, 5, 5)


def test_coverage_is_close_to_the_confidence() -> None:
    draw = np.random.default_rng(5)
    hits = 0
    for seed in range(300):
        values = draw.exponential(size=60)
        found = statistics.ratio(
            [statistics.sample(values, np.ones(60), alone(60))], 400, 0.9, seed
        )
        hits += found.low <= 1 <= found.high
    # Binomial(300, 0.9) has a standard deviation of 5; the percentile interval is a bit narrow.
    assert 245 <= hits <= 290


def test_large_samples_are_drawn_in_parts() -> None:
    values = np.random.default_rng(4).normal(size=30_000)
    found = statistics.ratio(
        [statistics.sample(values, np.ones(30_000), alone(30_000))], 150, 0.95, 0
    )
    assert found.high - found.low == pytest.approx(2 * 1.96 / 30_000**0.5, rel=0.2)


def test_nothing_to_divide_by_is_an_error() -> None:
    with pytest.raises(ValueError, match="denominator"):
        statistics.ratio([statistics.sample(np.ones(3), np.zeros(3), alone(3))], 100, 0.9, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(NUMBERS, min_size=2, max_size=40), st.integers(0, 99))
def test_interval_holds_the_estimate_and_repeats(values: list[float], seed: int) -> None:
    part = statistics.sample(values, np.ones(len(values)), alone(len(values)))
    found = statistics.ratio([part], 400, 0.95, seed)
    slack = 1e-9
    assert found.low - slack <= found.value <= found.high + slack
    assert min(values) - slack <= found.low
    assert found.high <= max(values) + slack
    assert found == statistics.ratio([part], 400, 0.95, seed)


@settings(max_examples=60, deadline=None)
@given(NUMBERS, st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_constant_data_have_no_width(rate: float, tokens: list[int]) -> None:
    part = statistics.sample([rate * count for count in tokens], tokens, alone(len(tokens)))
    found = statistics.ratio([part], 200, 0.95, 0)
    assert found.low == pytest.approx(rate, abs=1e-9)
    assert found.high == pytest.approx(rate, abs=1e-9)
