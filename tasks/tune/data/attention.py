"""How a model reads packs: each sequence of a row attends to itself alone, without a mask.

For attention, sequences of similar length are put below one another in tables, whole, and filled up
on the right (`layout`): what fills is later than every real token, so that causal attention never
sees it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

from tasks.core.errors import PerpetuneError
from tasks.tune.data.layout import Layout

_NAME = "perpetune_packed"

# Up to so many tokens, two products and their softmax take a CPU half of the fused kernel's time.
_SHORT = 128


def reads_packs(base: PreTrainedModel) -> bool:
    """Whether `base` is in the context of `packed_attention` now."""
    return str(base.config._attn_implementation).startswith(_NAME)


@contextmanager
def packed_attention(
    base: PreTrainedModel, device_type: str | None = None, *, windows: set[int] | None = None
) -> Iterator[None]:
    """Let `base` read packs in this context, instead of batches.

    Args:
        base: a causal language model.
        device_type: where it is pretended to be, if not where it is.
        windows: the sliding windows that layers ask for are noted here.

    Raises:
        PerpetuneError: the architecture's attention cannot be replaced.
    """
    if not base._supports_attention_backend:
        raise PerpetuneError(
            f"{type(base).__name__} does not go through transformers' attention interface, which "
            "training without padding needs; choose another base model"
        )
    on_cpu = (device_type or base.device.type) == "cpu"
    name = f"{_NAME}_{'on_cpu' if on_cpu else 'elsewhere'}"
    # No mask function is registered under this name, so transformers builds no mask.
    AttentionInterface.register(name, partial(_attention, on_cpu=on_cpu, windows=windows))
    before = base.config._attn_implementation
    base.set_attn_implementation(name)
    try:
        yield
    finally:
        base.set_attn_implementation(before)


@dataclass(frozen=True, slots=True)
class _Options:
    """What a layer's attention is to compute, beside queries, keys and values.

    Attributes:
        layout: of the row.
        on_cpu: choose what is quick there.
        scaling: of the scores; None: one by the root of the heads' size.
        dropout: of the weights.
        prefix: keys and values [heads, V, size] that every sequence sees before its own.
        window: how many tokens up to itself a token sees; None: all.
        softcap: bound of the scores (Gemma 2, https://arxiv.org/abs/2408.00118, section 2).
        sinks: for each head a score that takes its share of the weights and has no value (GPT-OSS,
            https://arxiv.org/abs/2508.10925, section 2.2).
    """

    layout: Layout
    on_cpu: bool
    scaling: float | None
    dropout: float
    prefix: tuple[torch.Tensor, torch.Tensor] | None
    window: int | None
    softcap: float | None
    sinks: torch.Tensor | None

    @classmethod
    def read(cls, module: torch.nn.Module, given: Mapping[str, Any]) -> "_Options":
        """From the keywords of a layer's call; a window wider than every sequence is none."""
        layout, window, prefix = given["layout"], given.get("sliding_window"), given.get("prefix")
        return cls(
            layout=layout,
            on_cpu=given["on_cpu"],
            scaling=given.get("scaling"),
            dropout=given.get("dropout", 0.0),
            prefix=None if prefix is None else prefix[int(module.layer_idx)],  # type: ignore[arg-type]
            window=None if window is None or layout.longest <= window else window,
            softcap=given.get("softcap"),
            sinks=given.get("s_aux"),
        )

    @property
    def is_plain(self) -> bool:
        """Whether no window, bound or sink changes causal attention."""
        return self.window is None and self.softcap is None and self.sinks is None

    @property
    def kernel(self) -> "_Kernel":
        """The function that computes it, the quickest that can."""
        if self.softcap is not None or self.sinks is not None:
            return _capped_attention
        short = self.on_cpu and self.layout.longest <= _SHORT
        if short and self.prefix is None and not self.dropout and self.is_plain:
            return _eager_attention
        return _fused_attention


_Kernel: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, _Options], torch.Tensor]
"""Queries, keys and values [sequences, heads, longest, size] → outputs of the same shape."""


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of each sequence with itself; [1, heads, N, size] → [1, N, heads, size].

    Args:
        module: the attention layer.
        query: of the whole row; `key` and `value` too, with as many heads as the layer keeps.
        key: see `query`.
        value: see `query`.
        attention_mask: none; a layer that wants one is refused.
        given: `on_cpu`, as in `_Options`; `windows`, where to note `sliding_window`; and what the
            layer passes: `layout`, `scaling`, `dropout`, `sliding_window`, `softcap`, `s_aux`;
            `prefix`, for each layer its own. Refused where it is known to change attention.
    """
    if "layout" not in given:
        raise PerpetuneError(f"{type(module).__name__} does not get the layout of a pack")
    windows, window = given["windows"], given.get("sliding_window")
    if windows is not None and window is not None:
        windows.add(window)
    options = _Options.read(module, given)
    unknown = [name for name in ("position_bias",) if given.get(name) is not None]
    if options.prefix is not None and not options.is_plain:
        unknown.append("a prefix beside a window, a bound or a sink")
    if attention_mask is not None or unknown or query.shape[2] != len(options.layout.order):
        raise PerpetuneError(
            f"{type(module).__name__} asks for attention that training without padding lacks "
            f"({', '.join(unknown) or 'a mask'}); choose another base model or a lower "
            "tune.max_length"
        )
    dtype, kernel = query.dtype, options.kernel
    # Adapters of 4-bit layers may give another type than the layer beside them.
    key, value = key.to(dtype), value.to(dtype)
    # [N, heads, size]: a token's heads are adjacent, so that a table moves whole rows.
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    if options.on_cpu and not (kernel is _eager_attention and dtype == torch.bfloat16):
        # PyTorch's backward kernel for CPUs takes twice as long in bfloat16 as in float32.
        query, key, value = query.float(), key.float(), value.float()
    tables = [
        [table.transpose(1, 2) for table in _Gather.apply(states, options.layout)]  # type: ignore[no-untyped-call]
        for states in (query, key, value)
    ]
    outputs = [
        kernel(queries, keys, values, options).transpose(1, 2).flatten(0, 1)
        for queries, keys, values in zip(*tables, strict=True)
    ]
    output = _Scatter.apply(torch.cat(outputs), options.layout)  # type: ignore[no-untyped-call]
    return output.to(dtype)[None], None


def _fused_attention(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, options: _Options
) -> torch.Tensor:
    """PyTorch's kernel: causal attention, in a window or after a prefix, if there is one."""
    plain = options.prefix is None and options.window is None
    mask = None if plain else _seen(queries, keys, options)
    if options.prefix is not None:
        keys, values = (
            torch.cat([prefix.to(own.dtype).expand(len(own), -1, -1, -1), own], dim=2)
            for prefix, own in zip(options.prefix, (keys, values), strict=True)
        )
    return functional.scaled_dot_product_attention(
        queries,
        keys,
        values,
        attn_mask=mask,
        dropout_p=options.dropout,
        is_causal=mask is None,
        scale=options.scaling,
        enable_gqa=queries.shape[1] != keys.shape[1],
    )


def _eager_attention(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, options: _Options
) -> torch.Tensor:
    """Plain causal attention in two products; heads that share keys are rows of one product."""
    sequences, kept, longest, size = keys.shape
    later = torch.full((longest, longest), -torch.inf, dtype=keys.dtype, device=keys.device)
    later = later.triu(1).repeat(queries.shape[1] // kept, 1)
    rows, keys, values = (
        states.reshape(sequences * kept, -1, states.shape[-1]) for states in (queries, keys, values)
    )
    scale = size**-0.5 if options.scaling is None else options.scaling
    scores = torch.baddbmm(later, rows, keys.transpose(1, 2), alpha=scale)
    return (scores.softmax(dim=-1) @ values).view(*queries.shape[:-1], -1)


def _capped_attention(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, options: _Options
) -> torch.Tensor:
    """Causal attention with bounds, sinks and a window, its scores written out."""
    shared = queries.shape[1] // keys.shape[1]
    keys, values = (states.repeat_interleave(shared, dim=1) for states in (keys, values))
    scale = keys.shape[-1] ** -0.5 if options.scaling is None else options.scaling
    scores = queries @ keys.mT * scale
    if options.softcap is not None:
        scores = options.softcap * torch.tanh(scores / options.softcap)
    scores = scores.masked_fill(~_seen(queries, keys, options), -torch.inf)
    if options.sinks is not None:
        sinks = options.sinks.to(scores.dtype).view(1, -1, 1, 1)
        scores = torch.cat([scores, sinks.expand(len(scores), -1, scores.shape[2], 1)], dim=-1)
    weights = scores.softmax(dim=-1)[..., : keys.shape[2]]
    return functional.dropout(weights, options.dropout) @ values


def _seen(queries: torch.Tensor, keys: torch.Tensor, options: _Options) -> torch.Tensor:
    """Which key a query sees, true or false: [longest, prefix and longest]."""
    before = 0 if options.prefix is None else options.prefix[0].shape[1]
    shape = (queries.shape[2], before + keys.shape[2])
    mask = torch.ones(shape, dtype=torch.bool, device=keys.device).tril(before)
    return mask if options.window is None else mask.triu(1 - options.window)


class _Gather(torch.autograd.Function):
    """[N, …] → for each table of a layout [sequences, longest, …]; what fills up has no gradient.

    By indexing, the way back would be a sum over all repeated places, slow where it is repeatable:
    on a GPU, PyTorch then sorts the places anew each time. So nothing is written by index here.
    """

    @staticmethod
    def forward(ctx: Any, row: torch.Tensor, layout: Layout) -> tuple[torch.Tensor, ...]:
        ctx.layout = layout
        return tuple(row[table] for table in layout.tables)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        every = torch.cat([gradient.flatten(0, 1) for gradient in gradients])
        row = every[ctx.layout.order]
        lanes = row.unflatten(0, (ctx.layout.lanes, -1))
        for segment, places in ctx.layout.copies:
            others = every[places].sum(dim=0)
            lanes[:, segment.start : segment.stop] += others.unflatten(0, (ctx.layout.lanes, -1))
        return row, None


class _Scatter(torch.autograd.Function):
    """The inverse: lines of all tables, one after another, → [N, …]."""

    @staticmethod
    def forward(ctx: Any, lines: torch.Tensor, layout: Layout) -> torch.Tensor:
        ctx.layout = layout
        return lines[layout.order]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient[ctx.layout.back].masked_fill_(ctx.layout.filler, 0), None
