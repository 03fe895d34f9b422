"""The bars on truth of the gates, with fewer simulations than the benchmark prints."""

import pytest

from benchmarks.evaluate.error_rates import run


def test_the_gates_are_not_wrong_more_often_than_they_may(
    capsys: pytest.CaptureFixture[str],
) -> None:
    missed = run(simulations=600, seed=1)
    printed = capsys.readouterr().out
    assert missed == []
    assert printed.count("\nholds: ") == 7 and "DOES NOT HOLD" not in printed
