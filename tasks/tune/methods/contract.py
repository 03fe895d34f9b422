"""What a method of adaptation gives to training: the adapted model."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tasks.settings import Settings
from tasks.tune.data.packing import Packed

Weights = Mapping[str, torch.Tensor]


class AdaptedModel(ABC):
    """A base model with fresh weights to train on it.

    It lives in the context of `Method.attach` and owns nothing beyond: the base is lent, and is
    what it was when the context ends. What is trainable is float32, whatever the base's type.
    Several threads may go through `network` at once; everything else is for one thread.
    """

    network: torch.nn.Module
    """Takes `inputs(pack)` as keywords and returns an output with `logits` [1, T, vocabulary]."""

    @abstractmethod
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """What is trained, by names that are equal for equal settings, in a fixed order."""

    def inputs(self, packed: Packed) -> dict[str, Any]:
        """Keywords for `network`; where virtual tokens are, they precede each sequence."""
        return packed.inputs()

    def set_active(self, active: "Sequence[AdaptedModel]") -> None:
        """Let these, and no others, be the lanes of the next passes, in this order.

        Only methods of `Method.batches_adapters` can have more than themselves among them.
        """
        if list(active) != [self]:
            raise ValueError(f"{type(self).__name__} shares no pass")

    def penalty(self) -> torch.Tensor | None:
        """What the method adds to the mean loss of a step, or nothing."""
        return None

    def after_step(self, step: int) -> None:  # noqa: ARG002 (for those that need it)
        """Called after the optimiser's step (counted from 1), while gradients are still there."""
        return None

    def state(self) -> dict[str, torch.Tensor]:
        """All that a later process needs to go on, the optimiser's state excepted (copies)."""
        return {name: parameter.detach().clone() for name, parameter in self.parameters().items()}

    def load_state(self, state: Weights) -> None:
        """Become what `state` was taken of; its names are those of `state()`."""
        with torch.no_grad():
            for name, parameter in self.parameters().items():
                parameter.copy_(state[name])

    @abstractmethod
    def export(self) -> dict[str, torch.Tensor]:
        """The weights to keep, under the names of the file that holds them (copies, on the CPU)."""

    @abstractmethod
    def write(self, folder: Path, weights: Weights, settings: Settings) -> None:
        """A plain folder that vanilla `peft` or `transformers` loads, with `weights` of `export`.

        Equal byte for byte for equal weights; nothing in it names a path of this machine beyond
        what the settings say.
        """

    def counts(self) -> tuple[int, int]:
        """Number of trained parameters, and of all that the adapted model has."""
        trained = {id(parameter): size(parameter) for parameter in self.parameters().values()}
        every = {id(parameter): size(parameter) for parameter in self.network.parameters()}
        return sum(trained.values()), sum((every | trained).values())


def size(parameter: torch.nn.Parameter) -> int:
    """How many numbers `parameter` holds; in 4 bits, two are in each of its bytes."""
    quantised = getattr(parameter, "quant_state", None)
    return parameter.numel() if quantised is None else math.prod(quantised.shape)
