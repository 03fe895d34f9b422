"""Several sequences in one row without padding, and how a model reads them; or one a row.

The sequences of a pack stand one after another in a row [1, N], beginnings that are equal only once
(`prefix_tree`); positions start anew with each, and none sees what is not its own. Everything in a
decoder but attention works token by token and needs no change. For attention, sequences of similar
length are laid side by side, whole, and filled up on the right: what fills is later than every real
token, so that causal attention never sees it, and needs no mask.

Models in which something else than attention looks beyond its token (a convolution, a recurrence),
or whose attention does not go through transformers' interface, read `Rows` instead.
`tasks.tune.train.execution` decides which.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, TypeAlias, cast

import torch
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

from tasks.core.errors import PerpetuneError
from tasks.model.encoding import Example
from tasks.model.rows import asked_logits, padded
from tasks.tune.data import prefix_tree
from tasks.tune.data.groups import Group
from tasks.tune.data.scores import Scores

# Sequences of which the shortest has this share of the longest's tokens are computed together.
_SIMILAR = 0.6

# Rows and tables are as long as a multiple of it: processors like such products, and a library that
# builds a kernel for each shape that it meets meets few.
_MULTIPLE = 8

_NAME = "perpetune_packed"

# Up to so many tokens, two products and their softmax take a CPU half of the fused kernel's time.
_SHORT = 128


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a row's sequences stand when attention is computed.

    `tables` hold positions in the row, one table [sequences, longest] for those of similar length;
    a sequence's last position fills up. `order` [N] says where in all tables, read one after
    another, each position of the row is found; for what several sequences share, where the first
    has it. `back` is the inverse: the position of each place of all tables, any where `filler`
    [places, 1, 1] says that its output is not asked for. `copies` are pairs: a stretch of each lane
    [P], and where the others have it [n, lanes × P].
    """

    tables: tuple[torch.Tensor, ...]
    order: torch.Tensor
    back: torch.Tensor
    filler: torch.Tensor
    copies: tuple[tuple[range, torch.Tensor], ...]
    lanes: int

    @classmethod
    def of(cls, paths: Sequence[prefix_tree.Path], lanes: int, device: torch.device) -> "Layout":
        """The layout of a row in which sequences take these paths, `lanes` times."""
        row = max(path[-1].stop for path in paths)
        wholes = [
            torch.cat([torch.arange(each.start, each.stop) for each in path]) for path in paths
        ]
        groups: list[list[int]] = []
        for number in sorted(range(len(paths)), key=lambda number: -len(wholes[number])):
            if not groups or len(wholes[number]) < _SIMILAR * len(wholes[groups[-1][0]]):
                groups.append([])
            groups[-1].append(number)
        tables, order, before = [], torch.empty(lanes, row, dtype=torch.long), 0
        starts = torch.arange(lanes)[:, None] * row
        copies: dict[range, list[torch.Tensor]] = {}
        for group in groups:
            longest = len(wholes[group[0]])
            steps = torch.arange(longest + -longest % _MULTIPLE)
            own = torch.stack(
                [wholes[number][steps.clamp(max=len(wholes[number]) - 1)] for number in group]
            )
            table = starts[:, :, None] + own
            places = before + torch.arange(table.numel()).view_as(table)
            for number, place in zip(group, places.unbind(1), strict=True):
                at = 0
                for each in paths[number]:
                    found = place[:, at : at + len(each)]
                    at += len(each)
                    if each in copies:
                        copies[each].append(found.flatten())
                    else:
                        copies[each] = []
                        order[:, each.start : each.stop] = found
            tables.append(table.flatten(0, 1).to(device))
            before += table.numel()
        order = order.flatten()
        back, filler = torch.zeros(before, dtype=torch.long), torch.ones(before, dtype=torch.bool)
        back[order], filler[order] = torch.arange(len(order)), False
        return cls(
            tuple(tables),
            order.to(device),
            back.to(device),
            filler.view(-1, 1, 1).to(device),
            tuple(
                (each, torch.stack(others).to(device)) for each, others in copies.items() if others
            ),
            lanes,
        )


@dataclass(frozen=True, slots=True)
class Pack:
    """Sequences of N tokens together, T of them targets, for each of K lanes the same.

    A lane is what one adapter reads where several share a pass. `input_ids` and `position_ids` are
    [1, K × N], lane after lane; `paths` say where in a lane each sequence stands; `asked` [K × T]
    are the positions in the row whose logits are wanted, sequence after sequence, `targets` [K × T]
    the token that follows each, and `counts` how many of them each sequence of a lane has.
    """

    ids: tuple[str, ...]
    input_ids: torch.Tensor
    position_ids: torch.Tensor
    paths: tuple[prefix_tree.Path, ...]
    asked: torch.Tensor
    targets: torch.Tensor
    counts: tuple[int, ...]
    layout: Layout
    lanes: int = 1
    groups: tuple[Group, ...] = ()

    def inputs(self) -> dict[str, Any]:
        """Keywords for the forward of a causal language model inside `packed_attention`."""
        return {
            "input_ids": self.input_ids,
            "position_ids": self.position_ids,
            "logits_to_keep": self.asked,
            "layout": self.layout,
        }

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.targets.device

    def logits(self, network: torch.nn.Module, inputs: Mapping[str, Any]) -> torch.Tensor:
        """What the network, given `inputs`, predicts for the targets: [K × T, vocabulary]."""
        logits: torch.Tensor = network(**inputs, use_cache=False).logits
        return logits[0]

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
            layout=Layout.of(self.paths, count, device),
            lanes=count,
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """Sequences one a row, filled up on the right; T tokens of them are targets.

    `input_ids` and `asked`, which marks the positions whose logits are wanted, are [rows, longest];
    `targets` [T] are the tokens that follow those, row after row, and `counts` how many of them
    each row has.
    """

    ids: tuple[str, ...]
    input_ids: torch.Tensor
    asked: torch.Tensor
    targets: torch.Tensor
    counts: tuple[int, ...]
    lanes: int = 1
    groups: tuple[Group, ...] = ()

    @classmethod
    def of(cls, examples: Sequence[Example], device: torch.device) -> "Rows":
        """These examples, at least one, in their order."""
        ids = padded([example.input_ids for example in examples], device)
        learned = [example.learned[1:] for example in examples]
        asked = padded(learned, device, width=ids.shape[1]).bool()
        return cls(
            ids=tuple(example.id for example in examples),
            input_ids=ids,
            asked=asked,
            targets=ids.roll(-1, dims=1)[asked],
            counts=tuple(example.targets for example in examples),
        )

    def inputs(self) -> dict[str, Any]:
        """Keywords for the forward of a causal language model."""
        return {"input_ids": self.input_ids}

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.targets.device

    def logits(self, network: torch.nn.Module, inputs: Mapping[str, Any]) -> torch.Tensor:
        """What the network, given `inputs`, predicts for the targets: [T, vocabulary]."""
        embedded = inputs.get("inputs_embeds")
        # Virtual tokens stand before each row.
        width = self.asked.shape[1] if embedded is None else embedded.shape[1]
        asked = functional.pad(self.asked, (width - self.asked.shape[1], 0))
        return asked_logits(network, inputs, asked)

    def in_lanes(self, count: int) -> "Rows":
        """Itself: rows are read by one adapter."""
        if count != 1:
            raise ValueError("rows have no lanes")
        return self


Packed: TypeAlias = Pack | Rows
"""What one pass through the model reads."""


def pack(examples: Sequence[Example], device: torch.device, *, shared: bool = True) -> Pack:
    """Lay examples out in one row.

    Args:
        examples: at least one.
        device: where tensors go.
        shared: lay equal beginnings down once. Not where a pass draws random numbers: those of a
            shared token would be the same for all.
    """
    paths = prefix_tree.lay_out([example.input_ids for example in examples], shared=shared)
    last = max(range(len(paths)), key=lambda number: paths[number][-1].stop)
    *before, own = paths[last]
    tokens = own.stop + -own.stop % _MULTIPLE
    # What fills the row up follows its last sequence, which therefore never sees it.
    paths[last] = (*before, range(own.start, tokens))
    ids, positions = [0] * tokens, [0] * tokens
    asked: list[int] = []
    targets: list[int] = []
    for example, path in zip(examples, paths, strict=True):
        places = list(chain.from_iterable(path))[: len(example.input_ids)]
        for at, place in enumerate(places):
            ids[place], positions[place] = example.input_ids[at], at
        learned = [at for at in range(1, len(example.learned)) if example.learned[at]]
        asked += [places[at - 1] for at in learned]
        targets += [example.input_ids[at] for at in learned]
    return Pack(
        ids=tuple(example.id for example in examples),
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        paths=tuple(paths),
        asked=torch.tensor(asked, device=device),
        targets=torch.tensor(targets, device=device),
        counts=tuple(example.targets for example in examples),
        layout=Layout.of(paths, 1, device),
    )


def token_losses(
    network: torch.nn.Module, packed: Packed, inputs: Mapping[str, Any] | None = None
) -> torch.Tensor:
    """−log p of each lane's targets in nats, in float32: [K, T].

    A `Pack` is read inside `packed_attention` only. Logits are computed for the targets alone.

    Args:
        network: a causal language model.
        packed: what it reads, and the targets.
        inputs: keywords for the network where they are not the pack's own.
    """
    logits = packed.logits(network, packed.inputs() if inputs is None else inputs)
    losses = functional.cross_entropy(logits.float(), packed.targets, reduction="none")
    return losses.view(packed.lanes, -1)


def score(
    network: torch.nn.Module,
    packed: Packed,
    inputs: Mapping[str, Any] | None = None,
    reference: Mapping[str, float] | None = None,
) -> Scores:
    """What the network says about a pack, for an objective to make losses of.

    Args:
        network: a causal language model.
        packed: what it reads, in its groups.
        inputs: as for `token_losses`.
        reference: log-probability of each example under the base, by its id.
    """
    sizes = tuple(len(group.examples) for group in packed.groups)
    losses = token_losses(network, packed, inputs)
    known = None
    if reference is not None:
        known = torch.tensor([reference[name] for name in packed.ids], device=losses.device)
    return Scores(losses, packed.counts, sizes or (1,) * len(packed.ids), known)


def sequence_losses(
    network: torch.nn.Module, packed: Packed, inputs: Mapping[str, Any] | None = None
) -> torch.Tensor:
    """−log p of each sequence's targets in nats: [K, sequences]."""
    return score(network, packed, inputs).losses()


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


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    on_cpu: bool,
    layout: Layout,
    windows: set[int] | None = None,
    prefix: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of each sequence with itself; [1, heads, N, size] → [1, N, heads, size].

    Args:
        module: the attention layer.
        query: of the whole row; `key` and `value` too, with as many heads as the layer keeps.
        key: see `query`.
        value: see `query`.
        attention_mask: none; a layer that wants one is refused.
        on_cpu: choose what is quick there.
        layout: where the sequences stand.
        windows: where to note `sliding_window`.
        prefix: for each layer, keys and values [heads, V, size] that every sequence sees before
            its own; the layer takes those at its `layer_idx`.
        scaling: of the scores.
        dropout: of the weights.
        sliding_window: how many tokens up to itself a token sees.
        softcap: bound of the scores (Gemma 2, https://arxiv.org/abs/2408.00118, section 2).
        s_aux: for each head a score that takes its share of the weights and has no value (GPT-OSS,
            https://arxiv.org/abs/2508.10925, section 2.2).
        rest: what else the layer passes; refused where it is known to change attention.
    """
    if windows is not None and sliding_window is not None:
        windows.add(sliding_window)
    longest = max(table.shape[1] for table in layout.tables)
    if sliding_window is not None and longest <= sliding_window:
        sliding_window = None
    special = _Special(sliding_window, softcap, s_aux)
    unknown = [name for name in ("position_bias",) if rest.get(name) is not None]
    if prefix is not None and special:
        unknown.append("a prefix beside a window, a bound or a sink")
    if attention_mask is not None or unknown or query.shape[2] != len(layout.order):
        raise PerpetuneError(
            f"{type(module).__name__} asks for attention that training without padding lacks "
            f"({', '.join(unknown) or 'a mask'}); choose another base model or a lower "
            "tune.max_length"
        )
    dtype = query.dtype
    # Adapters of 4-bit layers may give another type than the layer beside them.
    key, value = key.to(dtype), value.to(dtype)
    # [N, heads, size]: a token's heads lie together, so that a table moves whole rows.
    query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))
    short = on_cpu and longest <= _SHORT and prefix is None and not dropout and not special
    if on_cpu and not (short and dtype == torch.bfloat16):
        # PyTorch's backward kernel for CPUs takes twice as long in bfloat16 as in float32.
        query, key, value = query.float(), key.float(), value.float()
    aside = [
        [part.transpose(1, 2) for part in _LaidOut.apply(each, layout)]  # type: ignore[no-untyped-call]
        for each in (query, key, value)
    ]
    outputs = []
    for queries, keys, values in zip(*aside, strict=True):
        if special.softcap is not None or special.sinks is not None:
            output = _written_out(queries, keys, values, special, scaling, dropout)
        elif short:
            output = _in_two_products(queries, keys, values, scaling)
        else:
            before = None if prefix is None else prefix[int(module.layer_idx)]  # type: ignore[arg-type]
            mask = _mask(queries, keys, before, special.window)
            output = _fused(queries, keys, values, before, mask, scaling, dropout)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
    return _BackInRow.apply(torch.cat(outputs), layout).to(dtype)[None], None  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class _Special:
    """What a layer's attention has beyond causal attention."""

    window: int | None
    softcap: float | None
    sinks: torch.Tensor | None

    def __bool__(self) -> bool:
        return any(each is not None for each in (self.window, self.softcap, self.sinks))


def _mask(
    queries: torch.Tensor,
    keys: torch.Tensor,
    prefix: tuple[torch.Tensor, torch.Tensor] | None,
    window: int | None,
) -> torch.Tensor | None:
    """Which key a query sees, [longest, prefix and longest]; none where that is plain causal."""
    if prefix is None and window is None:
        return None
    before = 0 if prefix is None else prefix[0].shape[1]
    shape = (queries.shape[2], before + keys.shape[2])
    mask = torch.ones(shape, dtype=torch.bool, device=keys.device).tril(before)
    return mask if window is None else mask.triu(1 - window)


def _fused(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    prefix: tuple[torch.Tensor, torch.Tensor] | None,
    mask: torch.Tensor | None,
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    """Causal attention after a prefix, if there is one: [sequences, heads, longest, size]."""
    if prefix is not None:
        keys, values = (
            torch.cat([each.to(own.dtype).expand(len(own), -1, -1, -1), own], dim=2)
            for each, own in zip(prefix, (keys, values), strict=True)
        )
    return functional.scaled_dot_product_attention(
        queries,
        keys,
        values,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=queries.shape[1] != keys.shape[1],
    )


def _in_two_products(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """Causal attention, its scores written out: [sequences, heads, longest, size].

    Heads that share keys and values are rows of one product.
    """
    sequences, kept, longest, size = keys.shape
    later = torch.full((longest, longest), -torch.inf, dtype=keys.dtype, device=keys.device)
    later = later.triu(1).repeat(queries.shape[1] // kept, 1)
    rows, keys, values = (
        each.reshape(sequences * kept, -1, each.shape[-1]) for each in (queries, keys, values)
    )
    scale = size**-0.5 if scaling is None else scaling
    scores = torch.baddbmm(later, rows, keys.transpose(1, 2), alpha=scale)
    return (scores.softmax(dim=-1) @ values).view(*queries.shape[:-1], -1)


def _written_out(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    special: _Special,
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    """The same with bounds and sinks: [sequences, heads, longest, size]."""
    shared = queries.shape[1] // keys.shape[1]
    keys, values = (each.repeat_interleave(shared, dim=1) for each in (keys, values))
    scale = keys.shape[-1] ** -0.5 if scaling is None else scaling
    scores = queries @ keys.mT * scale
    if special.softcap is not None:
        scores = special.softcap * torch.tanh(scores / special.softcap)
    seen = _mask(queries, keys, None, special.window or keys.shape[2])
    scores = scores.masked_fill(~cast(torch.Tensor, seen), -torch.inf)
    if special.sinks is not None:
        sinks = special.sinks.to(scores.dtype).view(1, -1, 1, 1)
        scores = torch.cat([scores, sinks.expand(len(scores), -1, scores.shape[2], 1)], dim=-1)
    weights = scores.softmax(dim=-1)[..., : keys.shape[2]]
    return functional.dropout(weights, dropout) @ values


class _LaidOut(torch.autograd.Function):
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
        every = torch.cat([each.flatten(0, 1) for each in gradients])
        row = every[ctx.layout.order]
        lanes = row.unflatten(0, (ctx.layout.lanes, -1))
        for each, places in ctx.layout.copies:
            others = every[places].sum(dim=0)
            lanes[:, each.start : each.stop] += others.unflatten(0, (ctx.layout.lanes, -1))
        return row, None


class _BackInRow(torch.autograd.Function):
    """The inverse: rows of all tables, one after another, → [N, …]."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, layout: Layout) -> torch.Tensor:
        ctx.layout = layout
        return rows[layout.order]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient[ctx.layout.back].masked_fill_(ctx.layout.filler, 0), None
