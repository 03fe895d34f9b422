"""Where packs are computed: one after another, or two at once on a CPU's cores, or by processes."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from peft.tuners.lora.layer import ParamWrapper

from tasks.tune.train.distributed import SINGLE, Processes
from tasks.tune.train.execution import PACKED, Execution, draws_randomly

Item = TypeVar("Item")
Result = TypeVar("Result")


class PackExecutor:
    """Computes the packs of a batch: one after another, or on a CPU two at once, each on half its
    cores; where several processes train together, a share of them in each process.

    Two packs on one core each are faster than one on two: a single product is too small to share.
    The cut of a batch does not depend on the number of cores, so neither do the results.

    Attributes:
        processes: who trains together.
        execution: how the base reads a pack.
        side_by_side: a batch is cut into a multiple of this number of packs.
        random: a pass in training draws random numbers.
        threads: those that compute, of all packs that are computed at once.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor | None,
        side_by_side: int,
        processes: Processes,
        execution: Execution,
        *,
        random: bool,
        threads: int,
    ) -> None:
        self._pool = pool
        self.processes = processes
        self.execution = execution
        self.side_by_side = side_by_side * processes.count
        self.random = random
        self.threads = threads

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """The function's results, in the order of the items.

        The function runs in the caller's grad mode, which PyTorch keeps for each thread apart:
        without this, an evaluation under `torch.no_grad()` would keep each pack's graph.
        """
        if self._pool is None:
            return map(function, items)
        grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

        def in_mode(item: Item) -> Result:
            with torch.inference_mode(inference), torch.set_grad_enabled(grad):
                return function(item)

        return self._pool.map(in_mode, items)


@contextmanager
def pack_executor(
    network: torch.nn.Module, processes: Processes = SINGLE, execution: Execution = PACKED
) -> Iterator[PackExecutor]:
    """The executor for the device of `network`, here and in the other processes of a run."""
    random, threads = draws_randomly(network), torch.get_num_threads()
    if next(network.parameters()).device.type != "cpu":
        yield PackExecutor(None, 1, processes, execution, random=random, threads=threads)
        return
    if threads < 2 or random or processes.shard or _changes_in_a_pass(network, execution):
        # Threads would draw from one generator, ask others for weights, or change the network
        # under each other, in no certain order.
        yield PackExecutor(None, 2, processes, execution, random=random, threads=threads)
        return
    with ThreadPoolExecutor(2, "pack", torch.set_num_threads, (threads // 2,)) as pool:
        try:
            yield PackExecutor(pool, 2, processes, execution, random=False, threads=threads)
        finally:
            torch.set_num_threads(threads)


def _changes_in_a_pass(network: torch.nn.Module, execution: Execution) -> bool:
    """Whether a pass changes the network while it lasts: PEFT puts an adapter of experts into their
    weights for each pass, and an architecture that keeps a state may change anything."""
    experts = any(isinstance(module, ParamWrapper) for module in network.modules())
    return experts or execution.form != "packed"
