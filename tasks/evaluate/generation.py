"""Answers of a model, by greedy decoding."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any

import torch
from peft import PeftModel
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedTokenizerBase

from tasks.core.errors import BadInput, PerpetuneError
from tasks.model.codec import Codec
from tasks.model.encoding import read_answer

# Length of the longer of two prompts that show whether padding is ignored.
_PROBE_TOKENS = 16
# Raised by architectures that lack something for `generate`.
_FAILURES = (AttributeError, LookupError, NotImplementedError, TypeError, ValueError)


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
    """Greedy answers, up to the end token: one text for each prompt.

    Prompts of similar length are answered together, padded on the left, with a key-value cache;
    where the model does not ignore padding (a recurrence may not), prompts of equal length.

    Args:
        model: a causal language model of transformers, with an adapter or without.
        tokenizer: its tokenizer.
        prompts: token ids of each prompt, ready for generation.
        max_new_tokens: longest answer, in tokens.
        batch_size: number of prompts that are answered together.
        label: name of the progress bar.

    Raises:
        PerpetuneError: the architecture does not generate.
    """
    answers = [""] * len(prompts)
    head = model.get_output_embeddings().weight
    frozen = not head.requires_grad
    # PyTorch multiplies a batch by a weight in one product only if the weight may need a gradient;
    # otherwise, as under an adapter, it copies the whole head for every prompt of the batch.
    head.requires_grad_(head.is_floating_point())
    # The model that generates: a PEFT model uses its settings.
    inner: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    shipped = inner.generation_config
    # Shipped settings (temperatures, penalties) would change greedy answers, or warn about them.
    inner.generation_config = greedy = _greedy(shipped, tokenizer, max_new_tokens)
    try:
        with tqdm(
            total=len(prompts), desc=label, unit="answer", disable=None, file=sys.stderr
        ) as bar:
            for batch in _batches(model, prompts, batch_size, greedy):
                width = max(len(prompts[i]) for i in batch)
                rows = model.generate(**_left_padded(model, [prompts[i] for i in batch], greedy))
                for i, generated in zip(batch, rows[:, width:].tolist(), strict=True):
                    answers[i] = read_answer(generated, tokenizer)
                bar.update(len(batch))
    except _FAILURES as error:
        raise PerpetuneError(
            f"{label}: {type(inner).__name__} does not generate ({error})"
        ) from error
    finally:
        inner.generation_config = shipped
        head.requires_grad_(not frozen)
    return answers


def _left_padded(
    model: Any, prompts: Sequence[Sequence[int]], greedy: GenerationConfig
) -> dict[str, torch.Tensor]:
    """Keywords for `generate`: prompts with padding before them, and a mask of the prompts."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), greedy.pad_token_id)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :] = torch.tensor(prompt)
        mask[i, width - len(prompt) :] = 1
    device = next(model.parameters()).device
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def _batches(
    model: Any, prompts: Sequence[Sequence[int]], batch_size: int, greedy: GenerationConfig
) -> Iterator[list[int]]:
    """Indices of prompts that are answered together."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    unequal = len({len(prompt) for prompt in prompts}) > 1 and batch_size > 1
    if unequal and not _ignores_padding(model, [prompts[i] for i in order], greedy):
        for _, same_length in groupby(order, key=lambda i: len(prompts[i])):
            yield from map(list, _batched(same_length, batch_size))
    else:
        yield from map(list, _batched(order, batch_size))


def _batched(items: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """Batches of `size` items, as `itertools.batched` of Python 3.12."""
    rest = iter(items)
    while batch := tuple(islice(rest, size)):
        yield batch


def _ignores_padding(
    model: Any, by_length: Sequence[Sequence[int]], greedy: GenerationConfig
) -> bool:
    """Whether a short prompt has the same next-token logits beside a longer one as alone."""
    long = by_length[-1][-_PROBE_TOKENS:]
    short = by_length[0][-(len(long) // 2) :]
    found = []
    for probed in ([short, long], [short]):
        generated = model.generate(
            **_left_padded(model, probed, greedy),
            max_new_tokens=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
        found.append(generated.logits[0][0].float())
    exact = model.dtype in (torch.float32, torch.float64)
    bound = (0.01 if exact else 0.25) * float(found[1].std())
    return not bool((found[0] - found[1]).abs().max() > bound)


def _greedy(
    shipped: GenerationConfig, tokenizer: PreTrainedTokenizerBase, max_new_tokens: int
) -> GenerationConfig:
    ends = shipped.eos_token_id if shipped.eos_token_id is not None else []
    ends = ends if isinstance(ends, list) else [ends]
    if not all(type(end) is int and end >= 0 for end in ends):
        raise BadInput(
            f"base.model: eos_token_id in generation_config.json is {shipped.eos_token_id!r}; "
            "it has to be the number of a token, or a list of them"
        )
    ends = {*ends, *Codec.of(tokenizer).ends}
    padding = tokenizer.pad_token_id
    if padding is None:
        padding = min(ends, default=0)  # masked in prompts, cut off in answers
    return GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(ends) or None,
        pad_token_id=padding,
    )
