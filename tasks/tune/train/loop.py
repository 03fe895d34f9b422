"""The training loop: one optimiser step after another, seeded, repeatable and resumable.

A `Run` is one configuration in training. Runs whose adapters share one base go through it side by
side, as lanes of the same packs; each keeps its own loss, gradients, clipping, optimiser and
schedule, so that it trains as it would alone.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate, islice
from typing import Any

import torch
from peft.tuners.lora.layer import ParamWrapper

from tasks.model.encoding import Example
from tasks.settings import Tune
from tasks.tune.data.packing import Packed, sequence_losses, summed_losses
from tasks.tune.methods import Adapted
from tasks.tune.train.distributed import ALONE, Processes
from tasks.tune.train.execution import PACKED, Execution

log = logging.getLogger(__name__)

Row = dict[str, Any]
"""A step of the curve: `step` (from 1), `train_loss` (nats a target, before the step),
`learning_rate`, `tokens` (of the batch), `seconds` (spent on this run so far), and where an
evaluation was due, `validation_loss`."""


class Run:
    """One configuration in training: weights, optimiser, and what it has come to so far.

    Args:
        adapted: what is trained.
        tune: the configuration.
        rate: peak learning rate.
        steps: optimiser steps of the whole run.
        scaled: scale losses, as float16 bases need it.
    """

    def __init__(
        self, adapted: Adapted, tune: Tune, rate: float, steps: int, *, scaled: bool = False
    ) -> None:
        self.adapted, self.tune, self.rate, self.steps = adapted, tune, rate, steps
        self.parameters = list(adapted.parameters().values())
        device = self.parameters[0].device
        self.optimizer = torch.optim.AdamW(
            self.parameters, weight_decay=tune.weight_decay, fused=device.type in ("cpu", "cuda")
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        self.curve: list[Row] = []
        self.best_loss = math.inf
        self.best: dict[str, torch.Tensor] | None = None
        """The weights of `best_loss`, as far as no file holds them yet."""
        self.best_losses: list[float] = []
        """Summed loss of each validation example behind `best_loss`."""
        self.evaluations: list[list[float]] = []
        """The same of each evaluation so far: choosing among them flatters, and by how much is
        seen from these."""
        self.without_gain = 0
        self.seconds = 0.0
        self.failure: str | None = None

    @property
    def step(self) -> int:
        """Steps taken."""
        return len(self.curve)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do: all steps, no gain for `tune.patience`, or divergence."""
        stopped = self.without_gain >= self.tune.patience
        return self.step >= self.steps or stopped or self.failure is not None

    def take_step(self, gradients: Sequence[torch.Tensor], loss: float, tokens: int) -> None:
        """Take an optimiser step.

        Args:
            gradients: of the (scaled) loss by each parameter.
            loss: the loss before the step, in nats a target.
            tokens: those of the batch.
        """
        rate = self.rate * rate_factor(self.step + 1, self.steps, self.tune)
        if not math.isfinite(loss):
            self.failure = f"the training loss is {loss} at step {self.step + 1}"
            return
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.tune.max_gradient_norm)
        if not self.scaler.is_enabled() and not math.isfinite(norm):  # else the step is left out
            self.failure = f"the gradient is {float(norm)} at step {self.step + 1}"
            return
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.adapted.after_step(self.step + 1)
        self.optimizer.zero_grad()
        row = {"step": self.step + 1, "train_loss": loss, "learning_rate": rate, "tokens": tokens}
        self.curve.append(row)

    def evaluated(self, losses: torch.Tensor, targets: int) -> None:
        """Take note of an evaluation after the last step.

        Args:
            losses: summed loss of each validation example [examples].
            targets: number of targets of all of them.
        """
        loss = float(losses.sum() / targets)
        if not math.isfinite(loss):
            self.failure = f"the validation loss is {loss} at step {self.step}"
            return
        self.curve[-1]["validation_loss"] = loss
        self.evaluations.append(losses.tolist())
        self.without_gain += 1
        if loss < self.best_loss:
            self.best_loss, self.best_losses = loss, losses.tolist()
            self.best, self.without_gain = self.adapted.export(), 0


def advance(
    runs: Sequence[Run],
    batches: Sequence[Sequence[Example]],
    validation: Sequence[Packed],
    until: int,
    *,
    cores: "Cores",
    on_step: Callable[[Run], None] = lambda _: None,
) -> None:
    """Take runs from their common step to the step `until`, or to their end.

    A batch is cut into packs of `micro_batch_tokens`; its loss is the mean over all its targets, so
    that the cut does not change the step.

    Args:
        runs: of one base and of equal settings as far as batches, clipping and evaluations go.
        batches: those of a whole run.
        validation: what is evaluated.
        until: step to stop after.
        cores: where packs are computed.
        on_step: called after each step of each run.
    """
    due = evaluation_steps(len(batches), runs[0].tune.evaluations)
    alive = [run for run in runs if not run.ended]
    while alive and alive[0].step < until:
        began = time.perf_counter()
        batch = batches[alive[0].step]
        losses, gradients = backward(alive, batch, cores)
        tokens = sum(len(example.input_ids) for example in batch)
        for run, loss, its_gradients in zip(alive, losses, gradients, strict=True):
            run.take_step(its_gradients, loss, tokens)
        alive = [run for run in alive if not run.failure]
        if alive and alive[0].step in due:
            first = alive[0].adapted
            first.share([run.adapted for run in alive])
            found = evaluate(first.network, validation, len(alive), cores, first.inputs)
            for run, its_losses in zip(alive, found, strict=True):
                run.evaluated(its_losses, sum(len(packed.targets) for packed in validation))
        for run in alive:
            run.seconds += (time.perf_counter() - began) / len(alive)
            run.curve[-1]["seconds"] = run.seconds
        for run in alive:
            on_step(run)
        alive = [run for run in alive if not run.ended]


def backward(
    runs: Sequence[Run], batch: Sequence[Example], cores: "Cores"
) -> tuple[list[float], list[list[torch.Tensor]]]:
    """Mean loss of the batch, and gradients of the scaled loss by each parameter, for each run."""
    first = runs[0].adapted
    first.share([run.adapted for run in runs])
    if not first.network.training:  # a walk over all modules, each step
        first.network.train()
    every = [parameter for run in runs for parameter in run.parameters]
    device = every[0].device
    targets = sum(example.targets for example in batch)

    def one(
        shared: tuple[Sequence[Example], bool],
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        examples, counts = shared
        packed = cores.execution.lay(examples, device, shared=not cores.random)
        packed = packed.in_lanes(len(runs))
        losses = summed_losses(first.network, packed, first.inputs(packed)) * counts / targets
        return losses.detach(), _gradients(_scaled(runs, losses), every)

    tokens = runs[0].tune.micro_batch_tokens
    cut = cores.execution.cut(batch, tokens, cores.side_by_side, shared=not cores.random)
    processes = cores.processes
    if cores.random:
        processes.draw_apart(runs[0].step, [example.id for example in batch])
    total = torch.zeros(len(runs), device=device)
    summed: list[torch.Tensor] = []
    for losses, gradients in cores.map(one, processes.share(cut)):
        total += losses
        if summed:
            torch._foreach_add_(summed, gradients)
        else:
            summed = list(gradients)
    total, *summed = processes.summed([total, *summed])
    for number, run in enumerate(runs):
        penalty = run.adapted.penalty()
        if penalty is not None:
            total[number] += penalty.detach()
            torch._foreach_add_(summed, _gradients(_scaled([run], penalty[None]), every))
    losses = total.tolist()
    each = iter(summed)
    return losses, [list(islice(each, len(run.parameters))) for run in runs]


def _scaled(runs: Sequence[Run], losses: torch.Tensor) -> torch.Tensor:
    """The sum of the lanes' losses, each by its own run's scale (float16 bases; 1 otherwise)."""
    return torch.stack(
        [run.scaler.scale(loss) for run, loss in zip(runs, losses, strict=True)]
    ).sum()


def _gradients(
    loss: torch.Tensor, parameters: Sequence[torch.nn.Parameter]
) -> tuple[torch.Tensor, ...]:
    # Not `backward`: threads that add to one `.grad` would race.
    return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)


def evaluate(
    network: torch.nn.Module,
    validation: Sequence[Packed],
    lanes: int,
    cores: "Cores",
    inputs: Callable[[Packed], Mapping[str, Any]] = lambda packed: packed.inputs(),
) -> torch.Tensor:
    """Cross-entropy in nats of each example, summed over its targets: [lanes, examples]."""
    network.eval()

    @torch.no_grad()
    def one(packed: Packed) -> torch.Tensor:
        packed = packed.in_lanes(lanes)
        return sequence_losses(network, packed, inputs(packed))

    ends = list(accumulate(len(packed.ids) for packed in validation))
    mine = cores.processes.share([*zip(ends, validation, strict=True)])
    every = torch.zeros(lanes, ends[-1], device=validation[0].device)
    losses = cores.map(one, [packed for (_, packed), _ in mine])
    for ((end, packed), counts), own in zip(mine, losses, strict=True):
        if counts:
            every[:, end - len(packed.ids) : end] = own
    return cores.processes.summed([every])[0].double().cpu()


class Cores:
    """Where packs are computed: one after another, or on a CPU two at once, each on half its cores;
    where several processes train together, in each of them a share.

    Two packs on one core each are faster than one on two: a single product is too small to share.
    The cut of a batch does not depend on the number of cores, so neither do the results.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor | None,
        side_by_side: int,
        processes: Processes,
        execution: Execution,
        *,
        random: bool,
    ) -> None:
        self._pool = pool
        self.processes = processes
        self.execution = execution
        """How the base reads what is cut."""
        self.side_by_side = side_by_side * processes.count
        """Packs of which a batch's are a multiple."""
        self.random = random
        """A pass in training draws random numbers."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """The function's results, in the order of the items."""
        return map(function, items) if self._pool is None else self._pool.map(function, items)


@contextmanager
def cores(
    network: torch.nn.Module, processes: Processes = ALONE, execution: Execution = PACKED
) -> Iterator[Cores]:
    """What the device of `network` has for it, here and in the other processes of a run."""
    random = draws_randomly(network)
    if next(network.parameters()).device.type != "cpu":
        yield Cores(None, 1, processes, execution, random=random)
        return
    threads = torch.get_num_threads()
    if threads < 2 or random or processes.shard or _is_one_at_a_time(network, execution):
        # Threads would draw from one generator, ask others for weights, or change the network
        # under each other, in no certain order.
        yield Cores(None, 2, processes, execution, random=random)
        return
    with ThreadPoolExecutor(2, "pack", torch.set_num_threads, (threads // 2,)) as pool:
        try:
            yield Cores(pool, 2, processes, execution, random=False)
        finally:
            torch.set_num_threads(threads)


def _is_one_at_a_time(network: torch.nn.Module, execution: Execution) -> bool:
    """Whether the network is changed by a pass while it lasts: PEFT puts an adapter of experts into
    their weights for each; and who knows what architectures do that keep a state."""
    experts = any(isinstance(module, ParamWrapper) for module in network.modules())
    return experts or execution.form != "packed"


def draws_randomly(network: torch.nn.Module) -> bool:
    """Whether a pass in training draws random numbers."""
    return any(
        (isinstance(module, torch.nn.Dropout) and module.p > 0)
        or bool(getattr(module, "attention_dropout", 0))
        for module in network.modules()
    )


def evaluation_steps(steps: int, evaluations: int) -> set[int]:
    """The steps after which to evaluate: evenly spread, the last one among them."""
    return {math.ceil(steps * number / evaluations) for number in range(1, evaluations + 1)}


def rate_factor(step: int, steps: int, tune: Tune) -> float:
    """The learning rate of a step (from 1) as a share of its peak.

    It rises linearly over the warm-up and reaches the peak at its end; the decay would reach zero
    one step after the last, so that no step is wasted on a rate of zero.
    """
    warmup = math.ceil(tune.warmup_share * steps)
    if step <= warmup:
        return step / warmup
    progress = (step - warmup) / (steps - warmup + 1)
    if tune.schedule == "linear":
        return 1 - progress
    if tune.schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1.0


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Equal input gives equal bits in this context (same machine)."""
    # cuBLAS reads this when it is first used; without it, deterministic mode refuses to work.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    deterministic: Any = torch.utils.deterministic
    filled = deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    deterministic.fill_uninitialized_memory = False  # every buffer here is written
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(before)
        deterministic.fill_uninitialized_memory = filled
