"""A layout is what its worked example says, and reads every sequence of a row."""

import doctest

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.tune.data import layout, prefix_tree
from tasks.tune.data.layout import Layout

beginnings = st.sampled_from([(), (1,) * 8, (1,) * 12, (1,) * 12 + (2,) * 9])
sequences = st.lists(
    st.tuples(beginnings, st.lists(st.integers(1, 3), min_size=1, max_size=30)).map(
        lambda parts: [*parts[0], *parts[1]]
    ),
    min_size=1,
    max_size=7,
)


def test_the_worked_example_is_what_is_computed():
    result = doctest.testmod(layout, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted >= 9
    assert result.failed == 0


@settings(max_examples=60, deadline=None)
@given(rows=sequences, lanes=st.integers(1, 3))
def test_a_line_is_a_sequence_and_each_position_has_one_place(rows, lanes):
    segments = prefix_tree.lay_out(rows)
    length = max(own[-1].stop for own in segments)
    found = Layout.of(segments, lanes, torch.device("cpu"))
    wholes = [
        [lane * length + position for segment in own for position in segment]
        for lane in range(lanes)
        for own in segments
    ]
    lines = [line.tolist() for table in found.tables for line in table]
    assert sorted(wholes) == sorted(
        line[: line.index(line[-1]) + 1] for line in lines
    )  # filled up by the last
    places = torch.cat([table.flatten() for table in found.tables])
    assert torch.equal(places[found.order], torch.arange(lanes * length))
    read = ~found.filler.flatten()
    assert int(read.sum()) == lanes * length
    assert torch.equal(found.back[read], places[read])
