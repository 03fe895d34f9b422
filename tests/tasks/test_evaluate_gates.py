"""What gates decide, and what they say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tasks.core import plugins
from tasks.core.errors import BadInput
from tasks.evaluate import (
    Evidence,
    GateResult,
    Item,
    Measured,
    Outcome,
    Verdict,
    gates,
    multiplicity,
)
from tasks.evaluate.items import GENERAL, by_benchmark
from tasks.settings import Settings, load_settings
from tests.sections import settings_from

PROJECT = Path(__file__).parent.parent.parent
TESTS = {"contamination": None, "data": None}


def measured(
    losses: list[float],
    benchmark: str = "heldout",
    tokens: int = 10,
    groups: int = 0,
) -> list[Item]:
    return [
        Item(
            benchmark=benchmark,
            id=str(i),
            nll=loss * tokens,
            tokens=tokens,
            group=f"g{i % groups}" if groups else None,
        )
        for i, loss in enumerate(losses)
    ]


def noisy(mean: float, spread: float, count: int = 60, seed: int = 0) -> list[float]:
    return (mean + spread * np.random.default_rng(seed).normal(size=count)).tolist()


def shifted(losses: list[float], by: float, spread: float = 0.1, seed: int = 1) -> list[float]:
    changes = np.random.default_rng(seed).normal(size=len(losses))
    changes = by + spread * (changes - changes.mean())
    return (np.array(losses) + changes).tolist()


def settings(**evaluate: object) -> Settings:
    own = evaluate.pop("gates", {})
    return settings_from(evaluate={"rounds": "fixed", **evaluate, "gates": TESTS | own})


def decided(options: Settings, **items: list[Item]) -> dict[str, GateResult]:
    systems = {name: by_benchmark(found) for name, found in items.items()}
    return {gate.name: gate for gate in gates.decide(Measured(systems, options))}


def test_the_paired_test_sees_through_the_spread_of_examples() -> None:
    # A gain of 0.1 on each example, far below the spread between examples.
    base = noisy(3.0, 1.5)
    found = decided(settings(), base=measured(base), candidate=measured(shifted(base, -0.1)))
    assert list(found) == ["better"]
    assert found["better"].passed
    assert found["better"].value == pytest.approx(-0.1, abs=1e-6)
    assert found["better"].interval[1] < 0
    assert "0.100 nats a token lower than the base model's (95% interval" in found["better"].reason
    same = decided(settings(), base=measured(base), candidate=measured(base))["better"]
    assert same.outcome is Outcome.FAILED
    assert same.interval == (0, 0)
    # A mean that fell by chance: half the changes are gains, half are losses.
    luck = decided(
        settings(), base=measured(base), candidate=measured(shifted(base, -0.01, spread=0.5))
    )["better"]
    assert luck.outcome is Outcome.UNDECIDED
    assert "cannot be told apart" in luck.reason
    assert luck.needed > 1000 and f"about {luck.needed:,} examples" in luck.reason


@pytest.mark.parametrize(
    ("worse_by", "outcome"),
    [
        (0.0, Outcome.PASSED),
        (0.03, Outcome.PASSED),
        (0.045, Outcome.UNDECIDED),  # nothing shows that it is worse, or that it is not
        (0.055, Outcome.UNDECIDED),
        (0.1, Outcome.FAILED),
    ],
)
def test_what_is_not_shown_to_be_worse_is_not_passed(worse_by: float, outcome: Outcome) -> None:
    champion = noisy(2.0, 0.5)
    candidate = measured(shifted(champion, worse_by, spread=0.05))
    found = decided(
        settings(), base=measured(champion), champion=measured(champion), candidate=candidate
    )["no_regression:heldout"]
    assert found.outcome is outcome
    assert found.threshold == 0.05
    if outcome is Outcome.UNDECIDED:
        assert "0.05 higher is allowed, and the interval goes beyond that" in found.reason
        # More examples let it pass if this is the true difference, and it is within the margin.
        assert (found.needed is None) == (worse_by > 0.05)


def test_references_are_champion_first_champion_and_base() -> None:
    def rows(a: float, general: float) -> list[Item]:
        return [
            *measured(shifted(noisy(a, 0.2), 0, 0.01), "a"),
            *measured(noisy(general, 0.01), GENERAL),
        ]

    # The champion has lost 0.04 against the first one; the candidate loses as much again.
    found = decided(
        settings(gates={"better": None}),
        base=rows(3, 2), champion=rows(2.04, 2.2), first=rows(2.0, 2.2), candidate=rows(2.08, 2.25),
    )  # fmt: skip
    assert {name: gate.outcome.value for name, gate in found.items()} == {
        "general": "passed",
        "no_regression:a": "passed",
        "no_regression:a:first": "failed",
    }
    assert found["general"].value == pytest.approx(0.25)
    assert "than the first champion's" in found["no_regression:a:first"].reason


def test_few_groups_decide_nothing_however_many_rows() -> None:
    base = noisy(3.0, 0.1, count=200)
    for groups, outcome in ((5, Outcome.UNDECIDED), (6, Outcome.PASSED)):
        better = decided(
            settings(),
            base=measured(base, groups=groups),
            candidate=measured(shifted(base, -1.0), groups=groups),
        )["better"]
        assert better.outcome is outcome, better.reason
    one = decided(settings(), base=measured([3.0]), candidate=measured([1.0]))["better"]
    assert one.outcome is Outcome.UNDECIDED
    assert one.interval is None and "without an interval" in one.reason


def test_a_gate_may_look_at_any_metric() -> None:
    def answered(right: int) -> list[Item]:
        return [
            Item(
                benchmark="heldout", id=str(i), nll=1, tokens=1, answered=True,
                reference="yes indeed", answer="yes indeed" if i < right else "no",
            )
            for i in range(60)
        ]  # fmt: skip

    options = settings(
        gates={"better": {"exact_match": 0.1, "loss": 0}, "no_regression": {"exact_match": 0.1}}
    )
    found = decided(options, base=answered(10), champion=answered(30), candidate=answered(50))
    assert found["better:exact_match"].passed
    assert found["better:exact_match"].threshold == 0.1
    assert not found["better:loss"].passed
    assert found["no_regression:heldout"].passed
    worse = decided(options, base=answered(10), champion=answered(50), candidate=answered(20))
    assert worse["no_regression:heldout"].outcome is Outcome.FAILED
    assert "exact match is 0.500 lower than the champion's" in worse["no_regression:heldout"].reason
    # All wrong on both sides: the interval of the difference still has a width.
    none = decided(options, base=answered(0), champion=answered(0), candidate=answered(0))
    low, high = none["no_regression:heldout"].interval
    assert low < -0.03 and high > 0.03


def test_metrics_that_no_gate_can_compare_are_refused() -> None:
    with pytest.raises(BadInput, match=r"evaluate\.gates\.better\.perplexity: .*name that"):
        gates.check(settings(gates={"better": {"perplexity": 0}}))
    with pytest.raises(BadInput, match="no such metric; did you mean loss"):
        gates.check(settings(gates={"general": {"los": 0}}))
    gates.check(settings())


def test_systems_measured_on_other_items_are_not_compared() -> None:
    items = measured([3.0] * 20)
    found = decided(settings(), base=items, candidate=items[::-1])["better"]
    assert found.outcome is Outcome.UNDECIDED
    assert "same items" in found.reason


def test_training_data_are_searched_again(tmp_path: Path) -> None:
    question = "How many kilograms of fresh salmon does the old harbour restaurant serve?"
    held = tmp_path / "held.jsonl"
    held.write_text(
        json.dumps({"id": "q7", "prompt": question, "completion": "Forty of them."}) + "\n"
    )
    clean = [{"prompt": f"Add {i} to 1.", "completion": f"{i + 1}"} for i in range(30)]
    leaks = [*clean, {"prompt": f"Tell me: {question}", "completion": "Forty."}]
    for name, rows in (("clean.jsonl", clean), ("leaks.jsonl", leaks)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = settings_from(
        evaluate={"benchmarks": [str(held)], "general_probe": None, "gates": {"better": None}}
    )
    systems = {name: by_benchmark(measured([1.0])) for name in ("base", "candidate")}

    def gate(**evidence: Path) -> GateResult:
        results = gates.decide(Measured(systems, options, Evidence(**evidence)))
        return next(result for result in results if result.name == "contamination")

    clean_file, leaks_file = tmp_path / "clean.jsonl", tmp_path / "leaks.jsonl"
    assert gate(train=clean_file).passed
    found = gate(train=leaks_file, validation=clean_file)
    assert (found.outcome, found.value) == (Outcome.FAILED, 1)
    assert found.reason == (
        "1 of 31 training examples and 0 of 30 validation examples contains a benchmark record; "
        "the first: line 31 of leaks.jsonl has q7 of held.jsonl."
    )
    # What chose the candidate among trials is searched, too.
    assert gate(train=clean_file, validation=leaks_file).outcome is Outcome.FAILED
    assert gate(train=tmp_path / "gone").outcome is Outcome.UNDECIDED
    assert gate(train=clean_file, validation=tmp_path / "gone").outcome is Outcome.UNDECIDED
    assert gate().outcome is Outcome.UNDECIDED
    held.unlink()
    assert gate(train=clean_file).outcome is Outcome.UNDECIDED


def test_a_review_is_asked_for_at_approval_and_does_not_count_before() -> None:
    gate = GateResult(name="a", outcome=Outcome.PASSED, reason="Good.")
    waits = GateResult(name="b", outcome=Outcome.UNDECIDED, reason="Later.", at_approval=True)
    values = {"reference": "base", "models": {}, "review": "r", "seconds": 0}
    assert Verdict(gates=(gate, waits), **values).passed
    assert not Verdict(gates=(waits,), **values).passed
    failed = gate.model_copy(update={"outcome": Outcome.FAILED})
    undecided = gate.model_copy(update={"outcome": Outcome.UNDECIDED})
    assert Verdict(gates=(failed, undecided), **values).outcome is Outcome.FAILED
    found = Verdict(gates=(gate, undecided), **values)
    assert found.outcome is Outcome.UNDECIDED
    assert Verdict.from_json(found.to_json()) == found


def test_rounds_make_the_test_stricter_and_are_told() -> None:
    systems = {name: by_benchmark(measured([1.0])) for name in ("base", "candidate")}

    def told(looks: int, rounds: str) -> tuple[float, str]:
        options = settings(rounds=rounds)
        evidence = Evidence(looks=looks, trials=9, optimism=0.02)
        measured = Measured(systems, options, evidence)
        return measured.level, " ".join(multiplicity.notes(measured))

    levels = [told(looks, "spending")[0] for looks in range(60)]
    assert levels == sorted(levels, reverse=True)
    assert sum(levels) < 0.025
    assert told(30, "fixed")[0] == 0.025
    assert "round 31 on these benchmarks" in told(30, "spending")[1]
    assert "2.5 % in all rounds together" in told(30, "spending")[1]
    assert "new held-out data" in told(30, "spending")[1]
    assert "best of 9 trials" in told(0, "fixed")[1]
    assert "0.020 nats a token" in told(0, "fixed")[1]


@pytest.mark.parametrize("key", ["evaluate", "judge"])
def test_old_settings_are_read(key: str) -> None:
    old = load_settings(
        overrides=[
            f"{key}.max_regression=0.07", f"{key}.max_general_loss_increase=0.2",
            f"{key}.resamples=300",
        ]
    )  # fmt: skip
    assert old.evaluate.gates.plain()["no_regression"] == {"loss": 0.07}
    assert old.evaluate.gates.plain()["general"] == {"loss": 0.2}
    new = load_settings(overrides=["evaluate.gates.general.loss=0.2", "evaluate.gates.better=null"])
    assert new.evaluate.gates.plain()["general"] == {"loss": 0.2}
    assert new.evaluate.gates.plain()["better"] is None


def test_the_example_of_the_documentation_is_a_gate(tmp_path: Path) -> None:
    page = PROJECT / "docs" / "how-to" / "add-a-metric-or-a-gate.md"
    (code,) = re.findall(r"```python\n(# short_enough\.py.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "short_enough.py").write_text(code)
    plugin = f"project.plugins=[{tmp_path / 'short_enough.py'}]"
    item = Item(benchmark="b", id="1", nll=1, tokens=1, answered=True, answer="x" * 100)
    try:
        for key, outcome in (("200", "passed"), ("80", "failed"), ("null", None)):
            off = [f"evaluate.gates.{name}=null" for name in ("better", "contamination", "data")]
            chosen = f"evaluate.gates.short_enough={key}"
            options = load_settings(overrides=[plugin, chosen, *off])
            systems = {name: {"b": [item]} for name in ("base", "candidate")}
            found = gates.decide(Measured(systems, options))
            assert [result.outcome.value for result in found] == ([outcome] if outcome else [])
    finally:
        gates.GATES._members.pop("short_enough", None)
        plugins._loaded.pop(str(tmp_path / "short_enough.py"), None)
