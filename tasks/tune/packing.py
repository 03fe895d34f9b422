"""Several sequences in one row without padding, and how a model reads them.

The sequences of a pack stand one after another in a row [1, N]; positions start anew with each, and
attention is computed for each alone, so that none sees another. Everything else in a decoder works
token by token and needs no change.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

from tasks.encoding import Example
from tasks.errors import PerpetuneError

_NAME = "perpetune_packed"


@dataclass(frozen=True, slots=True)
class Pack:
    """Sequences of N tokens together, T of them targets.

    `input_ids` and `position_ids` are [1, N]; `lengths` are those of the sequences, in order;
    `asked` [T] are the positions in the row whose logits are wanted, `targets` [T] the token that
    follows each.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    lengths: tuple[int, ...]
    asked: torch.Tensor
    targets: torch.Tensor


def pack(examples: Sequence[Example], device: torch.device) -> Pack:
    """Lay examples out in one row."""
    ids: list[int] = []
    positions: list[int] = []
    asked: list[int] = []
    targets: list[int] = []
    for example in examples:
        learned = [at for at in range(1, len(example.learned)) if example.learned[at]]
        asked += [len(ids) + at - 1 for at in learned]
        targets += [example.input_ids[at] for at in learned]
        ids += example.input_ids
        positions += range(len(example.input_ids))
    return Pack(
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        lengths=tuple(len(example.input_ids) for example in examples),
        asked=torch.tensor(asked, device=device),
        targets=torch.tensor(targets, device=device),
    )


def summed_loss(model: torch.nn.Module, packed: Pack) -> torch.Tensor:
    """Cross-entropy of a pack's targets in nats, summed, in float32.

    Only inside `packed_attention`. Logits are computed for the targets alone.
    """
    logits = model(
        input_ids=packed.input_ids,
        position_ids=packed.position_ids,
        logits_to_keep=packed.asked,
        lengths=packed.lengths,
        use_cache=False,
    ).logits[0]
    return functional.cross_entropy(logits.float(), packed.targets, reduction="sum")


@contextmanager
def packed_attention(base: PreTrainedModel) -> Iterator[None]:
    """Let `base` read packs in this context, instead of batches.

    Raises:
        PerpetuneError: the architecture's attention cannot be replaced.
    """
    if not base._supports_attention_backend:
        raise PerpetuneError(
            f"{type(base).__name__} does not go through transformers' attention interface, which "
            "training without padding needs; choose another base model"
        )
    # No mask function is registered under this name, so transformers builds no mask.
    AttentionInterface.register(_NAME, _attention)
    before = base.config._attn_implementation
    base.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        base.set_attn_implementation(before)


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    lengths: tuple[int, ...],
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of each sequence with itself; [1, heads, N, size] → [1, N, heads, size].

    Neighbours of equal length are computed together.
    """
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if rest.get(name) is not None]
    if sliding_window is not None and max(lengths) > sliding_window:
        unknown.append(f"a sliding window below {max(lengths)} tokens")
    if attention_mask is not None or unknown or query.shape[2] != sum(lengths):
        raise PerpetuneError(
            f"{type(module).__name__} asks for attention that training without padding lacks "
            f"({', '.join(unknown) or 'a mask'}); choose another base model or a lower "
            "tune.max_length"
        )
    dtype = query.dtype
    if query.device.type == "cpu":
        # PyTorch's backward kernel for CPUs takes twice as long in bfloat16 as in float32.
        query, key, value = query.float(), key.float(), value.float()
    outputs = []
    start = 0
    for length, group in groupby(lengths):
        count = len(list(group))
        together = slice(start, start + count * length)
        output = functional.scaled_dot_product_attention(
            _stack(query[0, :, together], count),
            _stack(key[0, :, together], count),
            _stack(value[0, :, together], count),
            dropout_p=dropout,
            is_causal=True,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        outputs.append(output.transpose(1, 2).flatten(0, 1))
        start = together.stop
    return torch.cat(outputs).to(dtype)[None], None


def _stack(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """[heads, count × length, size] → [count, heads, length, size]."""
    return tensor.unflatten(1, (count, -1)).transpose(0, 1)
