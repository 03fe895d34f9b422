"""What a model answers."""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from peft import PeftModel
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedTokenizerBase

from tasks.encoding import Codec, read_answer


@torch.inference_mode()
def answer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int,
    label: str = "answers",
) -> list[str]:
    """The model's likeliest next token, again and again until the end token: one text a prompt.

    Prompts of similar length are answered together, padded on the left, with a key-value cache.

    Args:
        model: a causal language model of transformers, with an adapter or without.
        tokenizer: its tokenizer.
        prompts: token ids of each prompt, ready for generation.
        max_new_tokens: longest answer, in tokens.
        batch_size: prompts that are answered at once.
        label: name of the progress bar.
    """
    device = next(model.parameters()).device
    answers = [""] * len(prompts)
    head = model.get_output_embeddings().weight
    frozen = not head.requires_grad
    # PyTorch multiplies a batch by a weight at once only if that weight might need a gradient;
    # otherwise, as under an adapter, it copies the whole head for every prompt of the batch.
    head.requires_grad_(head.is_floating_point())
    # The one that generates, of which a PEFT model takes the settings.
    inner: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    shipped = inner.generation_config
    # What the model ships (temperatures, penalties) would change or warn about a greedy answer.
    inner.generation_config = greedy = _greedy(shipped, tokenizer, max_new_tokens)
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    try:
        with tqdm(
            total=len(prompts), desc=label, unit="answer", disable=None, file=sys.stderr
        ) as bar:
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                width = max(len(prompts[at]) for at in batch)
                ids = torch.full((len(batch), width), greedy.pad_token_id)
                mask = torch.zeros_like(ids)
                for row, at in enumerate(batch):
                    ids[row, width - len(prompts[at]) :] = torch.tensor(prompts[at])
                    mask[row, width - len(prompts[at]) :] = 1
                said = model.generate(input_ids=ids.to(device), attention_mask=mask.to(device))
                for at, generated in zip(batch, said[:, width:].tolist(), strict=True):
                    answers[at] = read_answer(generated, tokenizer)
                bar.update(len(batch))
    finally:
        inner.generation_config = shipped
        head.requires_grad_(not frozen)
    return answers


def _greedy(
    shipped: GenerationConfig, tokenizer: PreTrainedTokenizerBase, max_new_tokens: int
) -> GenerationConfig:
    ends = shipped.eos_token_id if shipped.eos_token_id is not None else []
    ends = {*(ends if isinstance(ends, list) else [ends]), *Codec.of(tokenizer).ends}
    padding = tokenizer.pad_token_id
    if padding is None:
        padding = min(ends, default=0)  # masked in prompts, cut off in answers
    return GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(ends) or None,
        pad_token_id=padding,
    )
