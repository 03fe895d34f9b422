"""What holds for every gate."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.evaluate import GATES, Evidence, Gate, Item, Measured, Outcome, Systems, Verdict, gates
from tasks.evaluate.items import by_benchmark
from tasks.evaluate.reference import metrics_and_gates
from tasks.settings import Settings
from tests.sections import settings_from

PROJECT = Path(__file__).parent.parent.parent
NEEDS = {"champion", "general_probe"}
# Every gate is on, and a good candidate passes it.
GATE_SETTINGS = {"size": 0.001, "latency": 1.0, "validity": {"valid_json": 0.5}}

every_gate = pytest.mark.parametrize("gate", list(GATES), ids=lambda gate: gate.name)
Make = Callable[..., Measured]


def items(loss: float, count: int = 40) -> dict[str, list[Item]]:
    """A system on a benchmark and the general probe; losses vary a little over items."""
    return by_benchmark(
        Item(
            benchmark=name,
            id=str(i),
            nll=10 * loss + i % 7 / 100,
            tokens=10,
            answered=True,
            prompt="Which?",
            reference=json.dumps({"a": i}),
            answer=json.dumps({"b": i}) if loss < 2 else "none",
            seconds=loss / 2,
            new_tokens=4,
            at_once=1,
        )
        for name in ("held", "general")
        for i in range(count)
    )


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A candidate of some loss beside others, with data and a folder as good as its loss."""
    held = tmp_path / "held.jsonl"
    row = {"prompt": "How do seven purple elephants balance on one marble sphere?"}
    held.write_text(json.dumps(row | {"completion": "They practise their patience daily."}) + "\n")

    def make(candidate: float, other: float, **more: object) -> Measured:
        good = candidate < other
        train = tmp_path / f"{candidate}.jsonl"
        rows = [{"prompt": f"Add {i} to 1.", "completion": f"{i + 1}"} for i in range(30)]
        train.write_text(
            "".join(
                json.dumps(r) + "\n" for r in (rows if good else [json.loads(held.read_text())])
            )
        )
        folder = tmp_path / f"adapter-{candidate}"
        folder.mkdir(exist_ok=True)
        (folder / "weights").write_bytes(bytes(10 if good else 5000))
        settings = settings_from(
            evaluate={
                "benchmarks": [str(held)], "general_probe": None, "gates": GATE_SETTINGS,
            }
        )  # fmt: skip
        systems = {"base": items(other), "champion": items(other), "candidate": items(candidate)}
        values = {"evidence": Evidence(train=train), "systems": Systems(folder)} | more
        return Measured(systems, settings, **values)

    return make


@every_gate
def test_it_says_what_it_is(gate: Gate) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", gate.name)
    assert gate.sentence.endswith(".")
    assert gate.needs <= NEEDS
    assert type(gate).__doc__ and type(gate).__doc__ != Gate.__doc__
    assert set(gate.metrics) <= set(gate.settings.model_fields)


@every_gate
def test_null_turns_it_off(gate: Gate, make: Make) -> None:
    if gate.name not in gate.settings.model_fields:
        return
    measured = make(1.0, 3.0)
    options = measured.settings.evaluate
    off = options.replace(gates=options.gates.plain() | {gate.name: None})
    settings = measured.settings.replace(evaluate=off)
    results = gates.decide(Measured(measured.items, settings, measured.evidence, measured.systems))
    assert results and not any(r.name.split(":")[0] == gate.name for r in results)


@every_gate
def test_a_better_candidate_passes_and_a_worse_one_does_not(gate: Gate, make: Make) -> None:
    if gate.name == "reviewed":  # decided at approval
        return
    better, worse = gate.decide(make(1.0, 3.0)), gate.decide(make(3.0, 1.0))
    assert better and all(result.outcome is Outcome.PASSED for result in better), better
    assert worse and all(result.outcome is Outcome.FAILED for result in worse), worse


@every_gate
def test_what_is_not_known_is_not_passed(gate: Gate, make: Make) -> None:
    few = {name: items(loss, count=3) for name, loss in
           (("base", 3.0), ("champion", 3.0), ("candidate", 1.0))}  # fmt: skip
    known = make(1.0, 3.0)
    for result in gate.decide(Measured(few, known.settings)):
        assert result.outcome is Outcome.UNDECIDED, result


@every_gate
def test_its_results_have_its_name_and_a_sentence_with_figures(gate: Gate, make: Make) -> None:
    for other in (1.5, 0.9):
        measured = make(1.0, other)
        results = gate.decide(measured)
        for result in results:
            assert result.name == gate.name or result.name.startswith(f"{gate.name}:")
            assert result.reason.endswith(".") and re.search(r"\d", result.reason)
            if result.value is not None and result.interval is not None:
                assert result.interval[0] <= result.value <= result.interval[1]
        assert gate.decide(measured) == results


def test_a_gate_that_raises_is_undecided(make: Make) -> None:
    class Broken(Gate):
        name = "broken"
        sentence = "Nothing."

        def decide(self, measured: Measured) -> list:
            raise KeyError("gone")

    GATES.register(Broken)
    try:
        results = gates.decide(make(1.0, 3.0))
    finally:
        del GATES._members["broken"]
    (found,) = [result for result in results if result.name == "broken"]
    assert found.outcome is Outcome.UNDECIDED
    assert "KeyError" in found.reason and "gone" in found.reason
    values = {"models": {}, "review": "r", "seconds": 0}
    verdict = Verdict(reference="base", gates=results, **values)
    assert not verdict.passed and verdict.outcome is Outcome.UNDECIDED


def test_no_settings_no_gates_no_pass() -> None:
    values = {"models": {}, "review": "r", "seconds": 0}
    empty = Verdict(reference="base", gates=(), **values)
    assert not empty.passed and empty.outcome is Outcome.UNDECIDED
    assert set(Settings().evaluate.gates.plain()) == {
        name for gate in GATES for name in gate.settings.model_fields
    }


def test_the_reference_is_that_of_the_registries() -> None:
    written = (PROJECT / "docs" / "reference" / "metrics-and-gates.md").read_text(encoding="utf-8")
    assert written == metrics_and_gates(), "run tasks.evaluate.reference, as it says"
