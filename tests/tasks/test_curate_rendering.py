"""Curation by the base's template: what the base cannot be given is dropped with its reason, and
lengths are those of training."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from tasks import records
from tasks.core.errors import BadInput
from tasks.curate import curate
from tasks.curate.ledger import place
from tasks.curate.steps.quality.token_counts import TokenCounter
from tasks.model import tokens
from tasks.model.encoding import encode_all
from tasks.settings import Settings
from tests.tasks.templates import STYLES, build
from tests.tasks.test_chat_templates import ANSWER, CALL, CALLING, RESULT, SYSTEM, TOOL, USER

WORDS = """
    amber birch cedar delta ember flint grove heron ivory jade kelp lotus maple north olive pearl
    quartz raven slate thorn umber violet willow yarrow zephyr
"""


def text(rng: random.Random, count: int = 6) -> str:
    return " ".join(rng.sample(WORDS.split(), count))


def chats(count: int, rng: random.Random, *first: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                *first,
                {"role": "user", "content": text(rng)},
                {"role": "assistant", "content": text(rng)},
            ]
        }
        for _ in range(count)
    ]


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[[str], Settings]:
    """Settings for a base of a style: its tokenizer, and of a model what curation asks for."""

    def make(style: str) -> Settings:
        folder = tmp_path / style
        tokenizer = build(STYLES[style])
        tokenizer.save_pretrained(folder)
        ends = list(tokenizer.stop_ids) or tokenizer.eos_token_id
        (folder / "config.json").write_bytes(orjson.dumps({"eos_token_id": ends}))
        (folder / "model.safetensors").write_bytes(b"")
        project = {"name": "tiny", "state_dir": str(tmp_path / "state")}
        return Settings.model_validate({"project": project, "base": {"model": str(folder)}})

    return make


def ledger(out: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (out / "dropped.jsonl").read_bytes().splitlines()]


def test_what_the_base_cannot_be_given_is_dropped_with_its_reason(
    settings_of: Callable[..., Settings], write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    rng = random.Random(1)
    special: list[tuple[str, Sequence[dict[str, Any]], dict[str, Any]]] = [
        ("template_ignores", [USER, CALLING], {}),
        ("template_ignores", [USER, CALLING, RESULT, ANSWER], {}),
        ("template_ignores", [USER, {**ANSWER, "content": "Warm."}], {"tools": [TOOL]}),
        ("template_ignores", [USER, {**ANSWER, "reasoning_content": "Well."}], {}),
        ("control_tokens", [{**USER, "content": "What does <|im_end|> mean?"}, ANSWER], {}),
    ]
    rows = [{"id": f"{i}", "messages": turns, **more} for i, (_, turns, more) in enumerate(special)]
    source = write_lines("a.jsonl", *chats(30, rng), *rows)
    report = curate([str(source)], [], tmp_path / "out", settings_of("chatml")).to_json()
    assert report["dropped"] == {"template_ignores": 4, "control_tokens": 1}
    lines = {line["id"]: line for line in ledger(tmp_path / "out")}
    assert [lines[str(i)]["reason"] for i in range(5)] == [reason for reason, _, _ in special]
    keys = [lines[str(i)]["evidence"]["key"] for i in range(4)]
    assert keys == ["tool_calls", "tool_calls", "tools", "reasoning"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "base.chat_template" in page and "leaves out what the record says" in page
    # A base whose template knows them keeps the same records.
    report = curate([str(source)], [], tmp_path / "other", settings_of("qwen3")).to_json()
    assert report["dropped"] == {"control_tokens": 1}


def test_where_every_record_is_refused_the_error_says_what_would_help(
    settings_of: Callable[..., Settings], write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    source = write_lines("a.jsonl", *chats(24, random.Random(2), SYSTEM))
    with pytest.raises(BadInput) as caught:
        curate([str(source)], [], tmp_path / "out", settings_of("gemma2"))
    assert "unrenderable 24" in str(caught.value)
    assert "System role not supported" in str(caught.value)
    assert "base.chat_template" in str(caught.value)


@pytest.mark.parametrize("style", list(STYLES))
def test_lengths_are_those_of_training(settings_of: Callable[..., Settings], style: str) -> None:
    rng = random.Random(3)
    if STYLES[style].template is None:
        tokens.locate(settings_of(style))
    tokenizer = tokens.load(tokens.locate(settings_of(style)))
    rows: list[dict[str, Any]] = [
        *chats(6, rng),
        *(
            {"messages": row["messages"] + more["messages"]}
            for row in chats(3, rng)
            for more in chats(1, rng)
        ),
        {"messages": [USER, {**ANSWER, "weight": 0}, {**USER, "content": "Sure?"}, ANSWER]},
        {"text": text(rng, 12)},
        {"prompt": text(rng), "chosen": text(rng), "rejected": text(rng, 12)},
        {"text": text(rng), "label": "tree"},
    ]
    made = [records.parse(row, "a.jsonl", i) for i, row in enumerate(rows)]
    measured = TokenCounter(tokenizer, 1, 10_000).measure(made)
    assert not measured.errors
    for record in made:
        if record.kind in ("chat", "text"):
            examples = encode_all(record, tokenizer, 10**6)
            exact = max(len(example.input_ids) for example in examples)
            # A space that a tokenizer puts before each text is counted in each turn.
            slack = 0 if STYLES[style].kind == "bytes" else 2 * len(record.turns)
            assert abs(measured.tokens[place(record)] - exact) <= slack
            # Near a bound the count is exact.
            near = TokenCounter(tokenizer, 1, exact).measure([record])
            assert near.tokens[place(record)] == exact


def test_the_quick_count_lets_nothing_pass_that_encoding_refuses(
    settings_of: Callable[..., Settings],
) -> None:
    rows = [
        {"messages": [USER, {"role": "tool", "content": "21"}, ANSWER]},
        {"messages": [{**USER, "content": "</s> and so on"}, ANSWER]},
        {"messages": [USER, {"role": "assistant", "tool_calls": [CALL]}]},
        {"text": "One <s> two."},
        {"prompt": "a", "chosen": "b", "rejected": "c </s> d"},
    ]
    made = [records.parse(row, "a.jsonl", i) for i, row in enumerate(rows)]
    tokenizer = tokens.load(tokens.locate(settings_of("llama2")))
    measured = TokenCounter(tokenizer, 1, 10_000).measure(made)
    reasons = [measured.errors[place(record)].reason for record in made]
    wanted = ["template_ignores", "control_tokens", "template_ignores"]
    assert reasons == [*wanted, "control_tokens", "control_tokens"]
    assert not measured.tokens
