"""What sequences begin with alike is stored once, and every sequence can still be read."""

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.tune.data import prefix_tree

quick = settings(max_examples=150, deadline=None)

beginnings = st.sampled_from([(), (1,) * 7, (1,) * 8, (1,) * 12, (1,) * 12 + (2,) * 9, (3,) * 20])
sequences = st.lists(
    st.tuples(beginnings, st.lists(st.integers(1, 3), min_size=1, max_size=15)).map(
        lambda parts: [*parts[0], *parts[1]]
    ),
    min_size=1,
    max_size=9,
)


@quick
@given(rows=sequences, shared=st.booleans())
def test_segments_read_their_sequence_and_no_position_is_left_over(rows, shared):
    segments = prefix_tree.lay_out(rows, shared=shared)
    row: dict[int, int] = {}
    for sequence, own in zip(rows, segments, strict=True):
        places = [place for segment in own for place in segment]
        assert len(places) == len(sequence)
        for place, token in zip(places, sequence, strict=True):
            assert row.setdefault(place, token) == token
    assert sorted(row) == list(range(len(row)))
    assert len(row) <= sum(map(len, rows))


@quick
@given(rows=sequences, shared=st.booleans())
def test_segments_are_shared_as_a_whole_and_every_sequence_ends_alone(rows, shared):
    segments = prefix_tree.lay_out(rows, shared=shared)
    users = Counter(segment for own in segments for segment in own)
    for left, right in pairwise(sorted(users, key=lambda segment: segment.start)):
        assert left.stop == right.start
    assert all(users[own[-1]] == 1 for own in segments)
    assert all(len(segment) >= 8 for segment, count in users.items() if count > 1)
    if not shared:
        assert set(users.values()) == {1}


def test_beginnings_within_beginnings_are_shared_too():
    rows = [[1] * 10 + [2] * 10 + [5], [1] * 10 + [3] * 4, [1] * 10 + [2] * 10 + [6]]
    segments = prefix_tree.lay_out(rows)
    assert max(own[-1].stop for own in segments) == 10 + 10 + 1 + 1 + 4
    assert segments[0][:2] == segments[2][:2]
    assert prefix_tree.common(rows) == 10
    assert prefix_tree.common(rows[:1]) == 0
    assert prefix_tree.common([[1] * 7 + [2], [1] * 7 + [3]]) == 0


def test_equal_sequences_keep_their_last_tokens():
    segments = prefix_tree.lay_out([[4] * 9] * 3)
    assert max(own[-1].stop for own in segments) == 8 + 3
