"""Several sequences in one row without padding, and how a model reads them.

The sequences of a pack stand one after another in a row [1, N]; positions start anew with each, and
none sees another. Everything in a decoder but attention works token by token and needs no change.
For attention, sequences of similar length are laid side by side, filled up on the right: what fills
is later than every real token, so that causal attention never sees it, and needs no mask.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

from tasks.encoding import Example
from tasks.errors import PerpetuneError

_NAME = "perpetune_packed"


# Sequences of which the shortest has this share of the longest's tokens are computed together.
_SIMILAR = 0.6


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a row's sequences stand when attention is computed.

    `tables` hold positions in the row, one table [sequences, longest] for those of similar length;
    a sequence's last position fills up. `order` [N] says where in all tables, read one after
    another, each position of the row is found.
    """

    tables: tuple[torch.Tensor, ...]
    order: torch.Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], lanes: int, device: torch.device) -> "Layout":
        """The layout of a row with `lanes` times the sequences of these lengths."""
        row = sum(lengths)
        starts = torch.tensor([0, *lengths]).cumsum(0)[:-1]
        by_length = sorted(range(len(lengths)), key=lambda number: lengths[number])
        groups: list[list[int]] = []
        for number in reversed(by_length):
            if not groups or lengths[number] < _SIMILAR * lengths[groups[-1][0]]:
                groups.append([])
            groups[-1].append(number)
        tables, order, before = [], torch.empty(lanes, row, dtype=torch.long), 0
        for group in groups:
            own = torch.tensor([lengths[number] for number in group])
            steps = torch.arange(int(own.max()))
            table = starts[group][:, None] + torch.minimum(steps, own[:, None] - 1)
            table = torch.arange(lanes)[:, None, None] * row + table
            places = before + torch.arange(table.numel()).view_as(table)
            real = (steps < own[:, None]).expand_as(table)
            order.view(-1)[table[real]] = places[real]
            tables.append(table.flatten(0, 1).to(device))
            before += table.numel()
        return cls(tuple(tables), order.flatten().to(device))


@dataclass(frozen=True, slots=True)
class Pack:
    """Sequences of N tokens together, T of them targets, for each of K lanes the same.

    A lane is what one adapter reads where several share a pass. `input_ids` and `position_ids` are
    [1, K × N], lane after lane; `lengths` are those of the sequences of one lane, in order; `asked`
    [K × T] are the positions in the row whose logits are wanted, `targets` [K × T] the token that
    follows each, and `counts` how many of them each sequence of a lane has.
    """

    ids: tuple[str, ...]
    input_ids: torch.Tensor
    position_ids: torch.Tensor
    lengths: tuple[int, ...]
    asked: torch.Tensor
    targets: torch.Tensor
    counts: tuple[int, ...]
    layout: Layout
    lanes: int = 1

    def inputs(self) -> dict[str, Any]:
        """Keywords for the forward of a causal language model inside `packed_attention`."""
        return {
            "input_ids": self.input_ids,
            "position_ids": self.position_ids,
            "logits_to_keep": self.asked,
            "layout": self.layout,
        }

    def in_lanes(self, count: int) -> "Pack":
        """The same for `count` lanes."""
        if count == self.lanes:
            return self
        device, tokens = self.asked.device, self.input_ids.shape[1]
        starts = torch.arange(count, device=device)[:, None] * tokens
        return replace(
            self,
            input_ids=self.input_ids.repeat(1, count),
            position_ids=self.position_ids.repeat(1, count),
            asked=(self.asked + starts).flatten(),
            targets=self.targets.repeat(count),
            layout=Layout.of(self.lengths, count, device),
            lanes=count,
        )


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
    lengths = tuple(len(example.input_ids) for example in examples)
    return Pack(
        ids=tuple(example.id for example in examples),
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        lengths=lengths,
        asked=torch.tensor(asked, device=device),
        targets=torch.tensor(targets, device=device),
        counts=tuple(example.targets for example in examples),
        layout=Layout.of(lengths, 1, device),
    )


def summed_losses(
    network: torch.nn.Module, packed: Pack, inputs: Mapping[str, Any] | None = None
) -> torch.Tensor:
    """Cross-entropy of each lane's targets in nats, summed, in float32: [K].

    Only inside `packed_attention`. Logits are computed for the targets alone.

    Args:
        network: a causal language model.
        packed: what it reads, and the targets.
        inputs: keywords for the network where they are not the pack's own.
    """
    return _losses(network, packed, inputs).sum(dim=1)


def sequence_losses(
    network: torch.nn.Module, packed: Pack, inputs: Mapping[str, Any] | None = None
) -> torch.Tensor:
    """The same, summed for each sequence alone: [K, sequences]."""
    by_sequence = _losses(network, packed, inputs).split(packed.counts, dim=1)
    return torch.stack([losses.sum(dim=1) for losses in by_sequence], dim=1)


def _losses(
    network: torch.nn.Module, packed: Pack, inputs: Mapping[str, Any] | None
) -> torch.Tensor:
    logits = network(**(inputs or packed.inputs()), use_cache=False).logits[0]
    losses = functional.cross_entropy(logits.float(), packed.targets, reduction="none")
    return losses.view(packed.lanes, -1)


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
    layout: Layout,
    prefix: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of each sequence with itself; [1, heads, N, size] → [1, N, heads, size].

    Args:
        module: the attention layer.
        query: of the whole row; `key` and `value` too, with as many heads as the layer keeps.
        key: see `query`.
        value: see `query`.
        attention_mask: none; a layer that wants one is refused.
        layout: where the sequences stand.
        prefix: for each layer, keys and values [heads, V, size] that every sequence sees before
            its own; the layer takes those at its `layer_idx`.
        scaling: of the scores.
        dropout: of the weights.
        sliding_window: refused where a sequence is longer.
        rest: what else the layer passes; refused where it changes attention.
    """
    longest = max(table.shape[1] for table in layout.tables)
    if prefix is not None:
        longest += prefix[0][0].shape[1]
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if rest.get(name) is not None]
    if sliding_window is not None and longest > sliding_window:
        unknown.append(f"a sliding window below {longest} tokens")
    if attention_mask is not None or unknown or query.shape[2] != len(layout.order):
        raise PerpetuneError(
            f"{type(module).__name__} asks for attention that training without padding lacks "
            f"({', '.join(unknown) or 'a mask'}); choose another base model or a lower "
            "tune.max_length"
        )
    dtype = query.dtype
    # [N, heads, size]: a token's heads lie together, so that a table moves whole rows.
    query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))
    grouped = query.shape[1] != key.shape[1]
    if query.device.type == "cpu":
        # PyTorch's backward kernel for CPUs takes twice as long in bfloat16 as in float32.
        query, key, value = query.float(), key.float(), value.float()
    aside = [
        [part.transpose(1, 2) for part in _LaidOut.apply(each, layout)]
        for each in (query, key, value)
    ]
    outputs = []
    for queries, keys, values in zip(*aside, strict=True):
        mask = None
        if prefix is not None:
            before = prefix[int(module.layer_idx)]  # type: ignore[arg-type]
            keys, values = (
                torch.cat([each.to(own.dtype).expand(len(own), -1, -1, -1), own], dim=2)
                for each, own in zip(before, (keys, values), strict=True)
            )
            mask = torch.ones(queries.shape[2], keys.shape[2], dtype=torch.bool, device=keys.device)
            mask = mask.tril(before[0].shape[1])
        output = functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=grouped,
        )
        outputs.append(output.transpose(1, 2).flatten(0, 1))
    return _BackInRow.apply(torch.cat(outputs), layout).to(dtype)[None], None


class _LaidOut(torch.autograd.Function):
    """[N, …] → for each table of a layout [sequences, longest, …]; what fills up has no gradient.

    By indexing, the way back would be a sum over repeated places, slow where it is repeatable.
    """

    @staticmethod
    def forward(ctx: Any, row: torch.Tensor, layout: Layout) -> tuple[torch.Tensor, ...]:
        ctx.order = layout.order
        return tuple(row[table] for table in layout.tables)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.cat([each.flatten(0, 1) for each in gradients])[ctx.order], None


class _BackInRow(torch.autograd.Function):
    """The inverse: rows of all tables, one after another, → [N, …]."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, layout: Layout) -> torch.Tensor:
        ctx.order, ctx.count = layout.order, len(rows)
        return rows[layout.order]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        rows = gradient.new_zeros(ctx.count, *gradient.shape[1:])
        return rows.index_copy_(0, ctx.order, gradient), None
