"""Intervals over clusters, and the level of a test over rounds."""

import math

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


def test_equal_clusters_give_the_t_test() -> None:
    values = np.random.default_rng(1).gamma(2, size=25)
    found = statistics.estimate([paired(values, np.ones(25), alone(25))])
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    interval = found.interval(0.9)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert found.degrees == pytest.approx(24)


def test_the_error_of_a_ratio_is_that_of_its_linearisation() -> None:
    draw = np.random.default_rng(2)
    tokens = draw.integers(3, 30, 400).astype(float)
    losses = tokens * draw.gamma(4, 0.5, 400)
    found = statistics.estimate([paired(losses, tokens, alone(400))])
    moved = losses - losses.sum() / tokens.sum() * tokens
    assert found.error == pytest.approx(math.sqrt(400 * moved.var(ddof=1)) / tokens.sum(), rel=0.02)


def test_clusters_are_what_varies() -> None:
    # 20 groups of 25 equal examples hold no more evidence than 20 examples.
    means = np.random.default_rng(3).normal(size=20)
    single = statistics.estimate([paired(means, np.ones(20), alone(20))])
    rows = np.repeat(means, 25), np.ones(500)
    many = statistics.estimate([paired(*rows, [str(i // 25) for i in range(500)])])
    assert (many.error, many.degrees) == pytest.approx((single.error, single.degrees))
    assert (many.clusters, many.examples) == (20, 500)
    independent = statistics.estimate([paired(*rows, alone(500))])
    assert many.error > 3 * independent.error


def test_few_groups_are_groups_all_the_same() -> None:
    few = statistics.estimate([paired(np.arange(30), np.ones(30), [str(i % 5) for i in range(30)])])
    assert few.clusters == 5
    assert not few.enough
    six = statistics.estimate([paired(np.arange(30), np.ones(30), [str(i % 6) for i in range(30)])])
    assert six.enough


def test_examples_without_group_are_clusters_of_their_own() -> None:
    groups = ["a", None, "a", None, *[f"g{i}" for i in range(10)]]
    assert len(paired(np.ones(14), np.ones(14), groups).sums) == 13


def test_one_cluster_has_no_interval() -> None:
    one = statistics.estimate([paired([3.0, 4.0], [1.0, 1.0], ["a", "a"])])
    assert (one.value, one.known) == (3.5, False)
    with pytest.raises(ValueError, match="one cluster"):
        one.interval(0.95)
    # Nor has a benchmark of one cluster beside others: nobody knows how far it is off.
    others = paired(np.arange(20), np.ones(20), alone(20))
    assert not statistics.estimate([others, paired([3.0], [1.0], ["a"])]).known


def test_benchmarks_are_drawn_apart() -> None:
    # Two constant benchmarks far from each other: nothing in either of them varies.
    low = paired(np.zeros(40), np.ones(40), alone(40))
    high = paired(np.full(40, 10.0), np.ones(40), alone(40))
    found = statistics.estimate([low, high])
    assert (found.value, found.error, found.degrees) == pytest.approx((5, 0, 78), abs=1e-9)


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("clusters", [6, 10, 30])
def test_the_level_is_kept_with_clusters_of_unequal_size(clusters: int, heavy: bool) -> None:
    draw = np.random.default_rng(5)
    shape = 4000, clusters
    sizes = np.ceil(draw.lognormal(1, 0.7, shape))
    sizes[:, 0] = sizes[:, 1:].sum(axis=1) / 2  # one cluster is a third of all
    noise = draw.standard_t(3, shape) if heavy else draw.normal(size=shape)
    value, variance = statistics.jackknife([np.stack([noise * sizes, sizes], axis=-1)])
    reach = np.sqrt(variance) * scipy.stats.t.ppf(0.975, clusters - 1)
    assert (value + reach < 0).mean() < 0.045
    assert (value - reach > 0).mean() < 0.045


def test_a_figure_may_be_any_function_of_the_sums() -> None:
    totals = np.random.default_rng(6).gamma(2.0, size=(40, 3))
    found = statistics.estimate(
        [statistics.sample(totals, alone(40))], lambda sums: sums.max(axis=-1)
    )
    assert found.value == totals.sum(axis=0).max()
    assert found.error == pytest.approx(
        math.sqrt(40 * totals[:, totals.sum(0).argmax()].var()), rel=0.1
    )


def test_nothing_to_divide_by_is_an_error() -> None:
    with pytest.raises(ValueError, match="denominator"):
        statistics.estimate([paired(np.ones(3), np.zeros(3), alone(3))])


@pytest.mark.parametrize("right", [0, 1, 24, 47, 48])
def test_a_share_has_an_interval_inside_its_bounds_and_of_some_width(right: int) -> None:
    values = np.arange(48) < right
    found = statistics.estimate([paired(values, np.ones(48), alone(48))])
    interval = found.interval(0.95, (0.0, 1.0))
    exact = scipy.stats.binomtest(right, 48).proportion_ci(method="exact")
    assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high), abs=0.02)
    assert 0 <= interval.low < interval.high <= 1
    wide = found.interval(0.95, (0.0, 100.0))
    assert wide.high == pytest.approx(
        100
        * statistics.estimate([paired(values / 100, np.ones(48), alone(48))])
        .interval(0.95, (0.0, 1.0))
        .high
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(NUMBERS, min_size=2, max_size=40))
def test_the_interval_holds_the_estimate(values: list[float]) -> None:
    found = statistics.estimate([paired(values, np.ones(len(values)), alone(len(values)))])
    interval = found.interval(0.95)
    assert interval.low <= found.value <= interval.high
    wider = found.interval(0.99)
    assert wider.low <= interval.low and interval.high <= wider.high


@settings(max_examples=60, deadline=None)
@given(NUMBERS, st.lists(st.integers(1, 50), min_size=2, max_size=40))
def test_constant_data_have_no_width(rate: float, tokens: list[int]) -> None:
    part = paired([rate * count for count in tokens], tokens, alone(len(tokens)))
    interval = statistics.estimate([part]).interval(0.95)
    assert interval.low == pytest.approx(rate, abs=1e-9)
    assert interval.high == pytest.approx(rate, abs=1e-9)


def test_the_examples_asked_for_would_decide() -> None:
    draw = np.random.default_rng(7)
    values = draw.normal(-0.1, 1, size=100)
    found = statistics.estimate([paired(values, np.ones(100), alone(100))])
    needed = found.examples_needed(0.1, 0.95)
    # (1.96 + 0.84)² s² / gain²
    assert needed == pytest.approx(7.85 * values.var(ddof=1) / 0.01, rel=0.1)
    shown = 0
    for _ in range(400):
        more = draw.normal(-0.1, values.std(ddof=1), size=needed)
        more_found = statistics.estimate([paired(more, np.ones(needed), alone(needed))])
        shown += more_found.interval(0.95).high < 0
    assert 0.74 < shown / 400 < 0.88
    assert found.examples_needed(-0.1, 0.95) is None
    assert found.examples_needed(0, 0.95) is None


@given(st.integers(0, 500), st.sampled_from(["fixed", "spending"]))
def test_the_level_of_a_round_never_exceeds_alpha(earlier: int, rounds: str) -> None:
    assert 0 < statistics.level(0.025, earlier, rounds) <= 0.025
    spent = sum(statistics.level(0.025, look, rounds) for look in range(earlier + 1))
    assert statistics.lucky(0.025, earlier, rounds) == pytest.approx(min(1, spent))
    if rounds == "spending":
        assert spent < 0.025
