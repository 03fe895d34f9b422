"""Several sequences in one row without padding, or one a row; what a model says about them.

The sequences of a pack follow one another in a row [1, N], beginnings that are equal only once
(`prefix_tree`); positions start anew with each, and none sees what is not its own. Everything in a
decoder but attention works token by token and needs no change; `attention` reads each sequence as
`layout` says.

Models in which something else than attention looks beyond its token (a convolution, a recurrence),
or whose attention does not go through transformers' interface, read `Rows` instead.
`tasks.tune.train.execution` decides which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch.nn import functional

from tasks.model.encoding import Example
from tasks.model.rows import asked_logits, padded
from tasks.tune.data.groups import Group
from tasks.tune.data.layout import MULTIPLE, Layout
from tasks.tune.data.prefix_tree import Segments, lay_out
from tasks.tune.data.scores import Scores


@dataclass(frozen=True, slots=True)
class Pack:
    """Sequences of N tokens together, T of them targets, for each of K lanes the same.

    A lane is what one adapter reads where several share a pass. `input_ids` and `position_ids` are
    [1, K × N], lane after lane; `segments` are the positions of each sequence in a lane.
    `logit_positions` [K × T] are the positions in the row whose logits are wanted, sequence after
    sequence, `targets` [K × T] the token that follows each, and `counts` how many of them each
    sequence of a lane has.
    """

    ids: tuple[str, ...]
    input_ids: torch.Tensor
    position_ids: torch.Tensor
    segments: tuple[Segments, ...]
    logit_positions: torch.Tensor
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
            "logits_to_keep": self.logit_positions,
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
        device, tokens = self.device, self.input_ids.shape[1]
        starts = torch.arange(count, device=device)[:, None] * tokens
        return replace(
            self,
            input_ids=self.input_ids.repeat(1, count),
            position_ids=self.position_ids.repeat(1, count),
            logit_positions=(self.logit_positions + starts).flatten(),
            targets=self.targets.repeat(count),
            layout=Layout.of(self.segments, count, device),
            lanes=count,
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """Sequences one a row, filled up on the right; T tokens of them are targets.

    `input_ids` and `logit_mask`, true where logits are wanted, are [rows, longest]; `targets` [T]
    are the tokens that follow those, row after row, and `counts` how many of them each row has.
    """

    ids: tuple[str, ...]
    input_ids: torch.Tensor
    logit_mask: torch.Tensor
    targets: torch.Tensor
    counts: tuple[int, ...]
    lanes: int = 1
    groups: tuple[Group, ...] = ()

    @classmethod
    def of(cls, examples: Sequence[Example], device: torch.device) -> "Rows":
        """These examples, at least one, in their order."""
        ids = padded([example.input_ids for example in examples], device)
        learned = [example.learned[1:] for example in examples]
        mask = padded(learned, device, width=ids.shape[1]).bool()
        return cls(
            ids=tuple(example.id for example in examples),
            input_ids=ids,
            logit_mask=mask,
            targets=ids.roll(-1, dims=1)[mask],
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
        if embedded is None:
            return asked_logits(network, inputs, self.logit_mask)
        # Virtual tokens precede each row.
        virtual = embedded.shape[1] - self.logit_mask.shape[1]
        return asked_logits(network, inputs, functional.pad(self.logit_mask, (virtual, 0)))

    def in_lanes(self, count: int) -> "Rows":
        """Itself: rows are read by one adapter."""
        if count != 1:
            raise ValueError("rows have no lanes")
        return self


Packed: TypeAlias = Pack | Rows
"""What one pass through the model reads."""


def pack(examples: Sequence[Example], device: torch.device, *, shared: bool = True) -> Pack:
    """Put examples into one row.

    Args:
        examples: at least one.
        device: where tensors go.
        shared: store equal beginnings once. Not where a pass draws random numbers: those of a
            shared token would be the same for all.
    """
    segments = lay_out([example.input_ids for example in examples], shared=shared)
    last = max(range(len(segments)), key=lambda number: segments[number][-1].stop)
    *before, final = segments[last]
    tokens = final.stop + -final.stop % MULTIPLE
    # What fills the row up follows its last sequence, which therefore never sees it.
    segments[last] = (*before, range(final.start, tokens))
    ids, position_ids = [0] * tokens, [0] * tokens
    logit_positions: list[int] = []
    targets: list[int] = []
    for example, own_segments in zip(examples, segments, strict=True):
        positions = list(chain.from_iterable(own_segments))[: len(example.input_ids)]
        for i, position in enumerate(positions):
            ids[position], position_ids[position] = example.input_ids[i], i
        learned = [i for i in range(1, len(example.learned)) if example.learned[i]]
        logit_positions += [positions[i - 1] for i in learned]
        targets += [example.input_ids[i] for i in learned]
    return Pack(
        ids=tuple(example.id for example in examples),
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([position_ids], device=device),
        segments=tuple(segments),
        logit_positions=torch.tensor(logit_positions, device=device),
        targets=torch.tensor(targets, device=device),
        counts=tuple(example.targets for example in examples),
        layout=Layout.of(segments, 1, device),
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
