"""The order of examples keeps to the mix, and packs waste and lose nothing."""

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.model.encoding import Example
from tasks.tune.data.batching import batches, draw, first_by_hash, packs
from tasks.tune.data.groups import Group
from tests.sections import tune_from

quick = settings(max_examples=60, deadline=None)


def example(number: int, source: str = "data/train.jsonl", length: int = 4) -> Example:
    return Example(f"id-{number}", source, (7,) * length, (False,) + (True,) * (length - 1))


def ids(examples: list) -> list[str]:
    return [item.id for item in examples]


@quick
@given(
    feedback=st.integers(1, 30),
    rest=st.integers(1, 30),
    share=st.floats(0, 1),
    seed=st.integers(0, 5),
)
def test_every_beginning_of_a_draw_keeps_to_the_mix(feedback, rest, share, seed):
    pool = [example(n, "data/feedback/window-4.jsonl") for n in range(feedback)]
    pool += [example(100 + n) for n in range(rest)]
    drawn = draw(pool, 90, {"data/feedback": share}, seed)
    taken = 0
    for count, item in enumerate(drawn, start=1):
        taken += item.source.startswith("data/feedback")
        assert abs(taken - share * count) <= 1


@quick
@given(sizes=st.lists(st.integers(1, 12), min_size=2, max_size=4), count=st.integers(1, 80))
def test_no_example_comes_again_before_all_of_its_part_have_come(sizes, count):
    pool = [
        example(100 * p + n, f"p{p}/x.jsonl") for p, size in enumerate(sizes) for n in range(size)
    ]
    mix = {f"p{p}": 1 / (len(sizes) + 1) for p in range(len(sizes) - 1)}
    drawn = draw(pool, count, mix, seed=3)
    assert len(drawn) == count
    for part in {item.source for item in pool}:
        size = sum(item.source == part for item in pool)
        of_part = [item.id for item in drawn if item.source == part]
        for start in range(0, len(of_part), size):
            window = of_part[start : start + size]
            assert len(set(window)) == len(window)


def test_a_missing_part_of_the_mix_leaves_its_share_to_the_rest():
    pool = [example(n) for n in range(6)]
    mix = {"data/feedback": 0.5}
    assert sorted(ids(draw(pool, 6, mix, seed=0))) == sorted(ids(pool))
    only_feedback = [example(n, "data/feedback/a.jsonl") for n in range(6)]
    assert sorted(ids(draw(only_feedback, 6, mix, seed=0))) == sorted(ids(only_feedback))
    assert len(draw(only_feedback, 6, {"data/feedback": 0.0}, seed=0)) == 6


def test_a_path_is_matched_by_folders_and_the_longest_counts():
    pool = [example(n, "./data/feedback/new/a.jsonl") for n in range(9)]
    pool += [example(20 + n, "data/feedback-old/a.jsonl") for n in range(9)]
    drawn = draw(pool, 8, {"data/feedback": 0.0, "data/feedback/new": 0.25}, seed=0)
    assert sum("new" in item.source for item in drawn) == 2


def test_order_depends_on_ids_and_seed_only():
    pool = [example(n) for n in range(20)]
    first = ids(draw(pool, 40, {}, seed=1))
    assert ids(draw(pool[::-1], 40, {}, seed=1)) == first
    assert ids(draw(pool, 40, {}, seed=2)) != first
    assert first[:20] != first[20:]


@quick
@given(
    count=st.integers(1, 40),
    size=st.integers(1, 9),
    epochs=st.floats(0.1, 4),
    most=st.integers(1, 20),
)
def test_a_run_ends_with_its_epochs_or_its_steps_whichever_is_earlier(count, size, epochs, most):
    tune = tune_from(batch_size=size, epochs=epochs, max_steps=most, mix={})
    plan = batches([example(n) for n in range(count)], tune, seed=0)
    assert len(plan) == min(most, math.ceil(math.ceil(epochs * count) / size))
    assert all(len(batch) == size for batch in plan[:-1])
    assert sum(map(len, plan)) == min(most * size, math.ceil(epochs * count))


@quick
@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=30), limit=st.integers(10, 120))
def test_packs_hold_every_example_once_and_stay_below_the_limit(lengths, limit):
    pool = [Group.of(example(n, length=length)) for n, length in enumerate(lengths)]
    cut = packs(pool, limit)
    assert Counter(ids([item for pack in cut for item in pack])) == Counter(ids(pool))
    for pack in cut:
        size = sum(group.tokens for group in pack)
        assert pack
        assert size <= limit or len(pack) == 1


def test_the_sample_for_evaluation_stays_when_examples_are_added():
    pool = [example(n) for n in range(50)]
    few = ids(first_by_hash(pool, 8))
    more = ids(first_by_hash(pool + [example(n) for n in range(50, 60)], 8))
    assert ids(first_by_hash(pool[::-1], 8)) == few
    assert len(set(few) & set(more)) >= 5
