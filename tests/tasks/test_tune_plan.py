"""`perpetune plan`: every method is compared, and the advice follows from facts."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from perpetune.cli.main import main
from perpetune.render.tune import show_plan
from tasks.core import files
from tasks.tune.methods import METHODS
from tasks.tune.plan.advice import Facts, advise
from tasks.tune.plan.results import (
    Advice,
    DataFacts,
    MachineFacts,
    MethodEstimate,
    ModelFacts,
    Plan,
)

NAMES = ("full", "lora", "qlora", "ia3", "prompt")
FACTS = Facts(
    examples=5000,
    targets=100_000,
    loss=2.5,
    parameters=1_000_000_000,
    adapters=1,
    trained={"full": 1_000_000_000, "lora": 10_000_000, "qlora": 10_000_000, "ia3": 100_000},
    fits=dict.fromkeys(NAMES, True),
)


def fitting(*names: str) -> dict[str, bool]:
    return {name: name in names for name in NAMES}


@pytest.mark.parametrize(
    ("facts", "method", "because"),
    [
        (FACTS, "lora", "learns as well as"),
        (replace(FACTS, examples=30), "ia3", "30 examples are few"),
        (replace(FACTS, adapters=5, targets=10**10, loss=6.0), "lora", "5 tuned models"),
        (replace(FACTS, targets=10**10, loss=6.0), "full", "far from what the base knows"),
        (replace(FACTS, targets=10**10, loss=1.0), "lora", "raise tune.method.rank"),
        (replace(FACTS, fits=fitting("qlora")), "qlora", "in 4 bits it does"),
        (replace(FACTS, examples=30, fits=fitting("qlora")), "qlora", "in 4 bits it does"),
        (replace(FACTS, fits=fitting("prompt")), "prompt", "LoRA does not fit"),
        (replace(FACTS, fits=fitting()), None, "no method fits"),
        (replace(FACTS, loss=None), "lora", "learns as well as"),
    ],
)
def test_advice_follows_from_facts(facts: Facts, method: str | None, because: str) -> None:
    found = advise(facts)
    assert found.method == method
    assert because in " ".join(found.reasons)


def test_what_to_do_instead_follows_from_facts() -> None:
    def instead(facts: Facts) -> str:
        return " ".join(advise(facts).instead)

    assert "retrieve:" in instead(FACTS)
    assert "prompt" not in instead(FACTS).replace("into the prompt by retrieval", "")
    assert "prompt with examples:" in instead(replace(FACTS, examples=30))
    assert "0.20 nats" in instead(replace(FACTS, loss=0.2))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "curated"
    for name, count in (("train", 120), ("validation", 6)):
        turns = [
            [
                {"role": "user", "content": f"[red]What[/] {number}?"},
                {"role": "assistant", "content": f"[bold]{number}[/] it is."},
            ]
            for number in range(count)
        ]
        rows = [
            {"id": str(number), "messages": each, "source": "a.jsonl", "line": number + 1}
            for number, each in enumerate(turns)
        ]
        files.write_jsonl(folder / f"{name}.jsonl", rows)
    return folder


@pytest.fixture
def call(tiny_base: Path, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    def run(*arguments: str) -> tuple[int, str]:
        common = [
            "--set", f"base.model={tiny_base}",
            "--set", "base.dtype=float32",
            "--set", f"project.state_dir={tmp_path / 'state'}",
        ]  # fmt: skip
        with CliRunner().isolated_filesystem(tmp_path):
            result = CliRunner().invoke(main, ["plan", *common, *arguments])
        return result.exit_code, result.stdout

    return run


def test_every_method_is_planned(data: Path, call: Callable[..., tuple[int, str]]) -> None:
    code, out = call("--data", str(data), "--json", "--set", "plan.price_per_hour=3600")
    found = json.loads(out)
    assert code == 0
    assert [each["method"] for each in found["methods"]] == list(METHODS.members())
    for each in found["methods"]:
        assert each["memory_bytes"] == sum(each["memory_parts"].values())
        assert 0 < each["trainable_share"] <= 1
        assert each["fits"]
        assert each["cost"] == pytest.approx(each["seconds"]) and each["seconds"] > 0
    assert found["advice"]["method"] in METHODS.members()
    assert found["data"]["examples"] == 120
    assert found["data"]["steps"] == 20
    assert found["model"]["loss"] == pytest.approx(10.8, abs=0.3)  # random weights, 49,152 words


def test_nothing_fits_into_too_little_memory(
    data: Path, call: Callable[..., tuple[int, str]]
) -> None:
    code, out = call("--data", str(data), "--json", "--set", "plan.memory_gb=0.001")
    found = json.loads(out)
    assert code == 0
    assert not any(each["fits"] for each in found["methods"])
    assert found["advice"]["method"] is None


def test_a_method_that_has_no_place_says_so(
    data: Path, call: Callable[..., tuple[int, str]]
) -> None:
    code, out = call("--data", str(data), "--json", "--set", "tune.method.target_modules=[nowhere]")
    lora = next(each for each in json.loads(out)["methods"] if each["method"] == "lora")
    assert code == 0
    assert not lora["fits"] and lora["memory_bytes"] is None
    assert "tune.method.target_modules" in lora["notes"][0]


def test_bad_data_is_named(tmp_path: Path, call: Callable[..., tuple[int, str]]) -> None:
    code, out = call("--data", str(tmp_path / "nowhere"), "--json")
    assert code == 2
    assert "train.jsonl: no such file" in json.loads(out)["error"]


def test_what_is_shown_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(
        model=ModelFacts(
            name="[red]base[/]",
            architecture="llama",
            parameters=1,
            loss=None,
            loss_unknown="[s]gone[/]",
            usual_loss=2.0,
        ),
        data=DataFacts(
            examples=1,
            tokens=1,
            targets=1,
            longest=1,
            targets_per_trained_parameter={},
            steps=1,
            examples_seen=1,
            epochs=1.0,
            tokens_trained=1,
            counts={},
            warnings=("[u]mind[/]",),
        ),
        machine=MachineFacts(
            cores=1,
            accelerator=None,
            memory_bytes=1,
            memory_available_bytes=1,
            memory_budget_bytes=1,
            dtype="float32",
            flops_per_second=None,
            price_per_hour=0.0,
        ),
        methods=(MethodEstimate(method="lora", fits=False, notes=("set [red]this[/]",)),),
        advice=Advice(method=None, reasons=("[b]so[/]",), instead=("[i]or[/]",)),
        seconds=1.0,
    )
    assert Plan.from_json(json.loads(files.to_json(plan))) == plan
    show_plan(plan)
    shown = capsys.readouterr().out
    for text in (
        "[red]base[/]",
        "set [red]this[/]",
        "[b]so[/]",
        "[i]or[/]",
        "[u]mind[/]",
        "[s]gone[/]",
    ):
        assert text in shown
