"""What a model answers."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any

import torch
from peft import PeftModel
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedTokenizerBase

from tasks.core.errors import BadInput, PerpetuneError
from tasks.model.encoding import Codec, read_answer

# Tokens of the longer of two prompts that show whether padding is overlooked.
_PROBE = 16
# What architectures raise that lack something for `generate`.
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
    """The model's likeliest next token, again and again until the end token: one text a prompt.

    Prompts of similar length are answered together, padded on the left, with a key-value cache;
    where the model does not overlook what pads (as a recurrence may not), those of equal length.

    Args:
        model: a causal language model of transformers, with an adapter or without.
        tokenizer: its tokenizer.
        prompts: token ids of each prompt, ready for generation.
        max_new_tokens: longest answer, in tokens.
        batch_size: prompts that are answered at once.
        label: name of the progress bar.

    Raises:
        PerpetuneError: the architecture does not generate.
    """
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
    try:
        with tqdm(
            total=len(prompts), desc=label, unit="answer", disable=None, file=sys.stderr
        ) as bar:
            for batch in _batches(model, prompts, batch_size, greedy):
                width = max(len(prompts[at]) for at in batch)
                said = model.generate(**_left_padded(model, [prompts[at] for at in batch], greedy))
                for at, generated in zip(batch, said[:, width:].tolist(), strict=True):
                    answers[at] = read_answer(generated, tokenizer)
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
    """Keywords for `generate`: prompts with padding before them, and a mask of what is none."""
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
    if unequal and not _overlooks_padding(model, [prompts[i] for i in order], greedy):
        for _, alike in groupby(order, key=lambda i: len(prompts[i])):
            yield from map(list, _batched(alike, batch_size))
    else:
        yield from map(list, _batched(order, batch_size))


def _batched(items: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """Items in parts of `size`, as `itertools.batched` of Python 3.12."""
    rest = iter(items)
    while part := tuple(islice(rest, size)):
        yield part


def _overlooks_padding(
    model: Any, by_length: Sequence[Sequence[int]], greedy: GenerationConfig
) -> bool:
    """Whether what follows a short prompt is the same beside a longer one as alone."""
    long = by_length[-1][-_PROBE:]
    short = by_length[0][-(len(long) // 2) :]
    found = []
    for probed in ([short, long], [short]):
        said = model.generate(
            **_left_padded(model, probed, greedy),
            max_new_tokens=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
        found.append(said.logits[0][0].float())
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
