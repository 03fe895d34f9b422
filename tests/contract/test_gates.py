"""What holds for every gate."""

import re
from pathlib import Path

import pytest

from tasks.evaluate import GATES, Gate, Item, Measured, Outcome
from tasks.evaluate.items import by_benchmark
from tasks.evaluate.reference import metrics_and_gates
from tasks.settings import Settings

PROJECT = Path(__file__).parent.parent.parent
NEEDS = {"champion", "general_probe"}
SETTINGS = Settings()

every_gate = pytest.mark.parametrize("gate", list(GATES), ids=lambda gate: gate.name)


def measured(candidate: float, other: float, count: int = 40) -> Measured:
    """All systems on a benchmark and the general probe; losses vary a little over items."""

    def items(loss: float) -> dict[str, list[Item]]:
        return by_benchmark(
            Item(benchmark=name, id=str(i), nll=10 * loss + i % 7 / 100, tokens=10)
            for name in ("held", "general")
            for i in range(count)
        )

    systems = {"base": items(other), "champion": items(other), "candidate": items(candidate)}
    return Measured(systems, SETTINGS)


@every_gate
def test_it_says_what_it_is(gate: Gate) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", gate.name)
    assert gate.sentence.endswith(".")
    assert gate.needs <= NEEDS
    assert type(gate).__doc__ and type(gate).__doc__ != Gate.__doc__


@every_gate
def test_a_better_candidate_passes_and_a_worse_one_does_not(gate: Gate) -> None:
    better, worse = gate.decide(measured(1.0, 3.0)), gate.decide(measured(3.0, 1.0))
    assert better and all(result.outcome is Outcome.PASSED for result in better)
    assert worse and not any(result.passed for result in worse)


@every_gate
def test_its_results_have_its_name_and_a_sentence_with_figures(gate: Gate) -> None:
    results = gate.decide(measured(1.0, 1.5))
    for result in results:
        assert result.name == gate.name or result.name.startswith(f"{gate.name}:")
        assert result.reason.endswith(".")
        if result.value is not None and result.interval is not None:
            assert result.interval[0] <= result.value <= result.interval[1]
    assert gate.decide(measured(1.0, 1.5)) == results


def test_the_reference_is_that_of_the_registries() -> None:
    written = (PROJECT / "docs" / "reference" / "metrics-and-gates.md").read_text(encoding="utf-8")
    assert written == metrics_and_gates(), "run tasks.evaluate.reference, as it says"
