"""One run on several processes, each with a share of every batch, all with equal weights.

`torchrun` begins them and accelerate finds out where they are. What is trained is on all of them;
its gradients are added up, so that all take the same step. The frozen weights are on all of them,
too, or spread over them by PyTorch's FSDP2, where each layer is gathered when it is needed (Zhao et
al. 2023, https://arxiv.org/abs/2304.11277).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import torch

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model import machine
from tasks.tune.settings import Tune

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run, as one of them sees them; without arguments it is alone."""

    count: int = 1
    number: int = 0
    shard: bool = False
    """The frozen weights are spread over the processes."""

    @classmethod
    def from_torchrun(cls, tune: Tune) -> "Processes":
        """Those that `torchrun` has begun, this one among them; each takes its device."""
        from accelerate import PartialState

        state = PartialState(cpu=machine.device().type == "cpu")
        return cls(state.num_processes, state.process_index, tune.shard)

    @property
    def is_main(self) -> bool:
        """Whether this is the one that writes."""
        return self.number == 0

    def assign(self, items: Sequence[T]) -> list[tuple[T, bool]]:
        """What this process does of `items` (at least one), and whether it counts.

        All get equally many, since they wait for each other in every pass; where nothing is left
        for one, it repeats an item that does not count.
        """
        own = [(item, True) for item in items[self.number :: self.count]]
        most = -(-len(items) // self.count)
        return own + [(items[0], False)] * (most - len(own))

    def all_reduce(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        """Each tensor's sum over the processes; all of one type, on one device."""
        if self.count == 1:
            return tensors
        from accelerate.utils import reduce

        whole = reduce(torch.cat([tensor.flatten() for tensor in tensors]), "sum")
        parts = whole.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def seed_rank(self, *what: object) -> None:
        """Let each process draw its own random numbers, set by `what` is computed."""
        if self.count > 1:
            torch.manual_seed(int(files.content_key(self.number, *map(str, what))[:12], 16))

    def shard_weights(self, base: "PreTrainedModel") -> None:
        """Spread the weights of `base` over the processes, if they are to be.

        Raises:
            BadInput: it is not known which of its modules are layers, or it is quantised.
        """
        if not self.shard:
            return
        if getattr(base, "is_loaded_in_4bit", False):
            raise BadInput("tune.shard: weights in NF4 cannot be spread; set it to false")
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        from torch.distributed.tensor import DTensor

        layers = [
            module
            for module in base.modules()
            if type(module).__name__ in (base._no_split_modules or [])
        ]
        if not layers:
            raise BadInput(
                f"tune.shard: {type(base).__name__} does not say what its layers are; set it to "
                "false, or choose another base model"
            )
        mesh = init_device_mesh(machine.device().type, (self.count,))
        for module in [*layers, base]:
            fully_shard(module, mesh=mesh)
        parameters = list(base.parameters())
        here = sum(cast(DTensor, parameter).to_local().numel() for parameter in parameters)
        every = sum(parameter.numel() for parameter in parameters)
        log.info("each process holds about %.0f %% of the frozen weights", 100 * here / every)


SINGLE = Processes()
"""This process alone."""
