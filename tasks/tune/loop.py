"""The training loop: one optimiser step after another, seeded and repeatable."""

import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from tqdm import tqdm

from tasks.encoding import Example
from tasks.errors import PerpetuneError
from tasks.settings import Tune
from tasks.tune.batching import packs
from tasks.tune.packing import Pack, pack, summed_loss

log = logging.getLogger(__name__)


class Diverged(PerpetuneError):
    """The loss left the finite numbers."""


def optimise(
    model: PeftModel, batches: Sequence[Sequence[Example]], validation: Sequence[Pack], tune: Tune
) -> Iterator[dict[str, Any]]:
    """Take one optimiser step for each batch; yield a row of the curve after each.

    A batch is cut into packs of `tune.micro_batch_tokens`; its loss is the mean over all its
    targets, so that the cut does not change the step.

    Yields:
        `step` (from 1), `train_loss` (nats a target, before the step), `learning_rate`, `tokens`
        (of this batch), `seconds` (since the beginning), and where an evaluation was due,
        `validation_loss`.

    Raises:
        Diverged: a loss is infinite or not a number.
    """
    began = time.perf_counter()
    device, half = model.device, model.dtype == torch.float16
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, weight_decay=tune.weight_decay, fused=device.type in ("cpu", "cuda")
    )
    scaler = torch.amp.GradScaler(device.type, enabled=half)
    due = evaluation_steps(len(batches), tune.evaluations)
    bar = tqdm(batches, desc=f"{tune.method} rank {tune.rank}", disable=None, file=sys.stderr)
    for step, batch in enumerate(bar, start=1):
        rate = tune.learning_rate * rate_factor(step, len(batches), tune)
        for group in optimizer.param_groups:
            group["lr"] = rate
        model.train()
        targets = sum(example.targets for example in batch)
        train_loss = 0.0
        for examples in packs(batch, tune.micro_batch_tokens):
            loss = summed_loss(model, pack(examples, device)) / targets
            scaler.scale(loss).backward()
            train_loss += loss.item()
        if not math.isfinite(train_loss):
            raise Diverged(f"the training loss is {train_loss} at step {step}")
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(parameters, tune.max_gradient_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        row = {
            "step": step,
            "train_loss": train_loss,
            "learning_rate": rate,
            "tokens": sum(len(example.input_ids) for example in batch),
        }
        if step in due:
            row["validation_loss"] = validation_loss(model, validation)
            if not math.isfinite(row["validation_loss"]):
                raise Diverged(f"the validation loss is {row['validation_loss']} at step {step}")
            log.info(
                "step %d of %d: training loss %.4f, validation loss %.4f",
                step,
                len(batches),
                train_loss,
                row["validation_loss"],
            )
            bar.set_postfix(validation=f"{row['validation_loss']:.3f}", refresh=False)
        yield row | {"seconds": time.perf_counter() - began}


@torch.no_grad()
def validation_loss(model: torch.nn.Module, validation: Sequence[Pack]) -> float:
    """Mean cross-entropy over all targets of these packs, in nats."""
    model.eval()
    total = sum(summed_loss(model, packed).item() for packed in validation)
    return total / sum(len(packed.targets) for packed in validation)


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
    """Equal input gives equal bits in this context (same machine, same number of threads)."""
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
