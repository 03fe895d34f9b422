"""Tuned models of every style answer as they were taught, and stop."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tasks import records
from tasks.evaluate.generation import answer
from tasks.model import base_model
from tasks.model.encoding import encode_all, encode_prompt
from tasks.settings import Settings
from tests.tasks.templates import STYLES, build

PAIRS = {"Who jumps?": "A fox.", "one two": "Rome, one two.", "See you": "Bye."}


def base(style: str, folder: Path) -> Settings:
    """A base model of the style, with weights at random."""
    tokenizer = build(STYLES[style], list(PAIRS.values()))
    tokenizer.pad_token = tokenizer.eos_token  # the end must be learned all the same
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=None,
        eos_token_id=list(tokenizer.stop_ids) or tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return Settings.model_validate({"base": {"model": str(folder), "dtype": "float32"}})


@pytest.mark.parametrize(
    "style",
    [
        "chatml_ends_elsewhere",
        "qwen3",
        "phi3",
        "gemma2",
        "llama2",
        "llama3",
        "zephyr_first",
        "alpaca_prepend",
        "deepseek_r1",
        "channels",
        "none",
    ],
)
def test_a_tuned_model_answers_and_stops(style: str, tmp_path: Path) -> None:
    settings = base(style, tmp_path)
    tokenizer, model = base_model.load_tokenizer(settings), base_model.load_model(settings)
    chats = [
        records.parse({"prompt": asked, "completion": answer}, "a.jsonl", 1)
        for asked, answer in PAIRS.items()
    ]
    examples = [example for chat in chats for example in encode_all(chat, tokenizer, 512)]
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(100):
        loss = torch.stack([loss_of(model, example) for example in examples]).mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if loss < 0.01:
            break
    model.eval()
    prompts = [encode_prompt(chat, tokenizer) for chat in chats]
    answers = answer(model, tokenizer, prompts, max_new_tokens=60, batch_size=2)
    assert [found.text for found in answers] == list(PAIRS.values())


def loss_of(model: torch.nn.Module, example) -> torch.Tensor:
    ids = torch.tensor([example.input_ids])
    labels = ids.where(torch.tensor([example.learned]), -100)
    return model(input_ids=ids, labels=labels).loss
