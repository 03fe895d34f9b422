"""The base with examples in its prompt: which ones, where they stand, and what they cost."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks import records
from tasks.evaluate import Evidence, Systems, compare, few_shot, generation, scoring
from tasks.evaluate.benchmarks import load_benchmark
from tasks.model import decoder
from tasks.settings import Settings


def row(i: int, **more: Any) -> dict[str, Any]:
    return {"id": f"t{i}", "prompt": f"def sort_{i}(x):", "completion": f"Sort {i}."} | more


def adapter_on(settings: Settings, folder: Path) -> Systems:
    """A candidate that says what its base says."""
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(settings.base.model, dtype=torch.float32),
        LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    )
    model.save_pretrained(folder / "adapter")
    return Systems(folder / "adapter")


@pytest.fixture
def train(write_lines: Callable[..., Path]) -> Path:
    rows = [row(i, group=f"m{i % 9}") for i in range(40)]
    chat = [{"role": role, "content": "Go on."} for role in ("user", "assistant") * 2]
    odd = [{"messages": chat}, {"text": "A text."}, row(98, prompt="long " * 300)]
    return write_lines("train.jsonl", *rows, *odd)


def test_examples_are_usual_ones_and_always_the_same(
    train: Path, write_lines: Callable[..., Path]
) -> None:
    lines = train.read_text().splitlines()
    shots = few_shot.choose(train, 4)
    assert few_shot.choose(write_lines("other.jsonl", *lines[::-1]), 4) == few_shot.Shots(
        tuple(
            records.Chat(
                id=shot.id, source=str(train.parent / "other.jsonl"), line=44 - shot.line,
                group=shot.group, turns=shot.turns,
            )
            for shot in shots.examples
        )
    )  # fmt: skip
    assert len({shot.group for shot in shots.examples}) == 4
    assert all(len(shot.turns) == 2 and len(shot.text) < 60 for shot in shots.examples)
    assert few_shot.choose(train, 2).examples == shots.examples[:2]


def test_every_label_is_shown(write_lines: Callable[..., Path]) -> None:
    rows = [row(i, completion="no" if i % 10 else "yes") for i in range(60)]
    shots = few_shot.choose(write_lines("labels.jsonl", *rows), 2)
    assert {shot.turns[-1].content for shot in shots.examples} == {"yes", "no"}


def test_what_is_learned_and_what_instructs_stays(
    train: Path, write_lines: Callable[..., Path], settings: Settings, tiny_base: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name a colour."},
        {"role": "assistant", "content": "Red."},
    ]
    path = write_lines("held.jsonl", {"messages": chat}, {"text": "A text."}, row(99))
    benchmark = load_benchmark(path, "held", tokenizer, settings)
    shots = few_shot.choose(train, 3)
    changed, shown = few_shot.with_shots(benchmark, shots, tokenizer, settings)
    assert shown == [3, 3]
    for record, plain, asked in zip(
        benchmark.records, benchmark.examples, changed.examples, strict=True
    ):
        learned = [
            [token for token, target in zip(e.input_ids, e.learned, strict=True) if target]
            for e in (plain, asked)
        ]
        assert learned[0] == learned[1]
        text = tokenizer.decode(asked.input_ids)
        if record.kind == "text":
            assert asked == plain
        else:
            assert [text.count(shot.turns[0].content) for shot in shots.examples] == [1, 1, 1]
            assert text.index(shots.examples[-1].turns[1].content) < text.index(record.prompt)
        if record.system:
            assert text.count("Be brief.") == 1
            assert text.index("Be brief.") < text.index(shots.examples[0].turns[0].content)
    assert [prompt is None for prompt in changed.prompts] == [
        prompt is None for prompt in benchmark.prompts
    ]


def test_a_short_context_takes_fewer_and_says_so(
    train: Path,
    write_lines: Callable[..., Path],
    make_settings: Callable[..., Settings],
    tiny_base: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings(evaluate={"max_new_tokens": 8, "few_shot": 3})
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    path = write_lines("held.jsonl", row(99), row(98, prompt="many words " * 60))
    benchmark = load_benchmark(path, "held", tokenizer, settings)
    plain = [len(prompt or ()) for prompt in benchmark.prompts]
    monkeypatch.setattr(few_shot, "context_length", lambda _: max(plain) + 40)
    asked = few_shot.ask(train, [benchmark], tokenizer, settings)
    assert len(asked.notes) == 1
    assert "fewer than 3 examples in its prompt on 1 of 2 questions" in asked.notes[0]
    assert all(len(e.input_ids) <= max(plain) + 40 for e in asked.benchmarks[0].examples)
    monkeypatch.setattr(few_shot, "context_length", lambda _: max(plain) + 9)
    short = few_shot.ask(
        train,
        [load_benchmark(path, "held", tokenizer, settings)],
        tokenizer,
        settings.replace(
            evaluate=settings.evaluate.model_copy(update={"max_new_tokens": max(plain)})
        ),
    )
    assert short.benchmarks == ()
    assert "on 2 of 2 questions" in short.notes[0]


def test_a_shared_beginning_is_computed_once_and_changes_nothing(
    train: Path,
    write_lines: Callable[..., Path],
    settings: Settings,
    tiny_base: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    with torch.no_grad():  # answers that differ
        for weight in model.parameters():
            weight.mul_(3)
    path = write_lines(
        "held.jsonl", *(row(90 + i, prompt=f"f{'(x)' * (i % 9)}") for i in range(24))
    )
    benchmark = load_benchmark(path, "held", tokenizer, settings)
    asked, _ = few_shot.with_shots(benchmark, few_shot.choose(train, 4), tokenizer, settings)
    prompts = [prompt for prompt in asked.prompts if prompt is not None]
    read = [0]
    forward = type(model).forward

    @functools.wraps(forward)  # transformers reads its signature
    def counted(self: Any, *args: Any, **options: Any) -> Any:
        read[0] += options["input_ids"].numel()
        return forward(self, *args, **options)

    monkeypatch.setattr(type(model), "forward", counted)
    found = []
    for fewest in (decoder._FEWEST_SHARED, 10_000):
        monkeypatch.setattr(decoder, "_FEWEST_SHARED", fewest)
        read[0] = 0
        losses = scoring.negative_log_likelihoods(model, asked.examples)
        answers = generation.answer(model, tokenizer, prompts, max_new_tokens=6, batch_size=4)
        found.append((losses, [answer.text for answer in answers], read[0]))
    (once, said_once, tokens_once), (always, said, tokens) = found
    assert once == pytest.approx(always, abs=1e-3)
    assert said_once == said
    assert len(set(said)) > 3
    assert tokens_once < tokens / 3


def test_the_verdict_says_whether_prompting_is_enough(
    train: Path,
    write_lines: Callable[..., Path],
    make_settings: Callable[..., Settings],
    tmp_path: Path,
) -> None:
    values = {
        "benchmarks": [str(write_lines("held.jsonl", *(row(50 + i) for i in range(24))))],
        "general_probe": None, "max_generations": 12, "max_new_tokens": 4, "resamples": 200,
    }  # fmt: skip
    settings = make_settings(evaluate=values)
    adapter = adapter_on(settings, tmp_path).candidate
    systems = Systems(adapter, others={"older": adapter})
    verdict = compare(systems, Evidence(train=train), tmp_path / "out", settings)
    assert list(verdict.models) == ["base", "few_shot", "older", "candidate"]
    assert verdict.models["few_shot"].model == "base, 4 examples before each question"
    assert verdict.models["few_shot"].benchmarks != verdict.models["base"].benchmarks
    assert any("the base model with examples in its prompt" in note for note in verdict.notes)
    assert verdict.notes[0].startswith("Examples in the prompt ")
    without = compare(Systems(adapter), Evidence(), tmp_path / "none", settings)
    assert "few_shot" not in without.models
