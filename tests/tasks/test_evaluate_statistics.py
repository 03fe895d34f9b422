"""Bootstrap intervals."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from tasks.evaluate import statistics

NUMBERS = st.floats(-50, 50, allow_nan=False)


def paired(numerators: ArrayLike, denominators: ArrayLike, groups: list[str | None]):
    return statistics.sample(np.stack([numerators, denominators], axis=1), groups)


def alone(count: int) -> list[str | None]:
    return [None] * count


def test_interval_agrees_with_scipy() -> None:
    draw = np.random.default_rng(1)
    tokens = draw.integers(3, 30, 80)
    losses = tokens * draw.gamma(4, 0.5, 80)
    found = statistics.bootstrap([paired(losses, tokens, alone(80))], 20_000, 0.9, 0)
    expected = scipy.stats.bootstrap(
        (losses, tokens),
        lambda x, y, axis: x.sum(axis) / y.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    width = expected.high - expected.low
    assert found.value == pytest.approx(losses.sum() / tokens.sum())
    assert found.low == pytest.approx(expected.low, abs=0.03 * width)
    assert found.high == pytest.approx(expected.high, abs=0.03 * width)


def test_clusters_are_drawn_whole() -> None:
    # 20 groups of 25 equal examples hold no more evidence than 20 examples.
    means = np.random.default_rng(3).normal(size=20)
    single = paired(means, np.ones(20), alone(20))
    many = paired(np.repeat(means, 25), np.ones(500), [str(i // 25) for i in range(500)])
    expected = statistics.bootstrap([single], 5000, 0.95, 0)
    wide = statistics.bootstrap([many], 5000, 0.95, 0)
    assert wide.low == pytest.approx(expected.low)
    assert wide.high == pytest.approx(expected.high)
    independent = paired(np.repeat(means, 25), np.ones(500), alone(500))
    narrow = statistics.bootstrap([independent], 5000, 0.95, 0)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_too_few_groups_leave_the_examples_alone() -> None:
    few = paired(np.arange(30), np.ones(30), [str(i % 9) for i in range(30)])
    enough = paired(np.arange(30), np.ones(30), [str(i % 10) for i in range(30)])
    assert len(set(few.clusters)) == 30
    assert len(set(enough.clusters)) == 10


def test_examples_without_group_are_clusters_of_their_own() -> None:
    groups = ["a", None, "a", None, *[f"g{i}" for i in range(10)]]
    clusters = paired(np.ones(14), np.ones(14), groups).clusters
    assert clusters[0] == clusters[2]
    assert len(set(clusters)) == 13


def test_benchmarks_are_drawn_apart() -> None:
    # Two constant benchmarks far from each other: nothing in either of them varies.
    low = paired(np.zeros(40), np.ones(40), alone(40))
    high = paired(np.full(40, 10.0), np.ones(40), alone(40))
    found = statistics.bootstrap([low, high], 500, 0.95, 0)
    assert (found.value, found.low, found.high) == (5, 5, 5)


def test_coverage_is_close_to_the_confidence() -> None:
    draw = np.random.default_rng(5)
    hits = 0
    for seed in range(300):
        values = draw.exponential(size=60)
        found = statistics.bootstrap([paired(values, np.ones(60), alone(60))], 400, 0.9, seed)
        hits += found.low <= 1 <= found.high
    # Binomial(300, 0.9) has a standard deviation of 5; the percentile interval is a bit narrow.
    assert 245 <= hits <= 290


def test_large_samples_are_drawn_in_parts() -> None:
    values = np.random.default_rng(4).normal(size=30_000)
    found = statistics.bootstrap([paired(values, np.ones(30_000), alone(30_000))], 150, 0.95, 0)
    assert found.high - found.low == pytest.approx(2 * 1.96 / 30_000**0.5, rel=0.2)


def test_nothing_to_divide_by_is_an_error() -> None:
    with pytest.raises(ValueError, match="denominator"):
        statistics.bootstrap([paired(np.ones(3), np.zeros(3), alone(3))], 100, 0.9, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(NUMBERS, min_size=2, max_size=40), st.integers(0, 99))
def test_interval_holds_the_estimate_and_repeats(values: list[float], seed: int) -> None:
    part = paired(values, np.ones(len(values)), alone(len(values)))
    found = statistics.bootstrap([part], 400, 0.95, seed)
    slack = 1e-9
    assert found.low - slack <= found.value <= found.high + slack
    assert min(values) - slack <= found.low
    assert found.high <= max(values) + slack
    assert found == statistics.bootstrap([part], 400, 0.95, seed)


@settings(max_examples=60, deadline=None)
@given(NUMBERS, st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_constant_data_have_no_width(rate: float, tokens: list[int]) -> None:
    part = paired([rate * count for count in tokens], tokens, alone(len(tokens)))
    found = statistics.bootstrap([part], 200, 0.95, 0)
    assert found.low == pytest.approx(rate, abs=1e-9)
    assert found.high == pytest.approx(rate, abs=1e-9)


def test_a_figure_may_be_any_function_of_the_sums() -> None:
    totals = np.random.default_rng(6).gamma(2.0, size=(40, 3))
    found = statistics.bootstrap(
        [statistics.sample(totals, alone(40))], 300, 0.9, 0, lambda sums: sums.max(axis=-1)
    )
    assert found.value == totals.sum(axis=0).max()
    assert found.low <= found.value <= found.high
