"""What holds for every way to choose rows: those of Perpetune, and one as a user writes it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks.label import STRATEGIES, Pool, Strategy


class Last:
    name = "last"
    meaning = "Rows of the end of the window."

    def choose(self, pool: Pool, count: int, seed: int) -> list[int]:
        return list(range(len(pool)))[::-1][:count]

    def reason(self, pool: Pool, row: int) -> str:
        return f"row {row} of {len(pool)}"


MEMBERS = [*STRATEGIES, Last()]
pytestmark = pytest.mark.parametrize("strategy", MEMBERS, ids=lambda strategy: strategy.name)


def pool(rows: int, seed: int, groups: int, kind: str) -> Pool:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[rng.random(rows) < 0.1] = 0.0  # texts without a known word
    losses = rng.random(rows)
    losses[1::3] = np.nan
    return Pool(
        groups=tuple(f"g{i % groups}" for i in range(rows)),
        vectors=vectors,
        novelty=rng.random(rows),
        probabilities=rng.dirichlet(np.ones(3), size=rows) if kind == "labels" else None,
        losses=losses if kind == "answers" else None,
    )


@hypothesis_settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(1, 30),
    count=st.integers(1, 40),
    seed=st.integers(0, 9),
    groups=st.integers(1, 30),
    kind=st.sampled_from(["labels", "answers"]),
)
def test_it_chooses_so_many_rows_none_twice_and_always_the_same(
    strategy: Strategy, rows: int, count: int, seed: int, groups: int, kind: str
) -> None:
    made = pool(rows, seed, groups, kind)
    chosen = strategy.choose(made, count, seed)
    assert len(chosen) == len(set(chosen)) == min(count, rows)
    assert set(chosen) <= set(range(rows))
    assert chosen == strategy.choose(pool(rows, seed, groups, kind), count, seed)
    assert all(strategy.reason(made, row).strip() for row in chosen)


def test_it_says_what_it_is(strategy: Strategy) -> None:
    assert strategy.name.isidentifier()
    assert strategy.meaning.endswith(".")


def test_rows_of_one_group_do_not_crowd_out_the_others(strategy: Strategy) -> None:
    if strategy.name in ("random", "last"):
        pytest.skip("does not look at groups")
    made = pool(60, 3, 1, "labels")
    # Half of the rows are one session's, and it looks the more promising.
    groups = ("session",) * 30 + tuple(f"g{i}" for i in range(30))
    novelty = np.r_[np.full(30, 1.0), np.full(30, 0.8)]
    unsure = np.tile([0.4, 0.35, 0.25], (60, 1))
    chosen = strategy.choose(
        Pool(groups=groups, vectors=made.vectors, novelty=novelty, probabilities=unsure), 20, 1
    )
    assert Counter(groups[row] for row in chosen)["session"] <= 6
