"""What planning measures: the base model's loss on the data, and the speed of a training step."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tasks.settings import Settings
from tasks.tune.data.batching import batches
from tasks.tune.data.examples import Data
from tasks.tune.data.groups import Group
from tasks.tune.plan.profile import PassProfile
from tasks.tune.settings import METHOD, configured
from tasks.tune.train import trainer
from tasks.tune.train.pack_executor import pack_executor
from tasks.tune.train.trials import TrialRun

log = logging.getLogger(__name__)

_LOSS_EXAMPLES = 64
# Longest measured step; where a whole batch would take longer, two examples are timed instead,
# which take more time a token.
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What running the base model told; none where it was not run."""

    loss: float | None = None
    """Mean loss on validation examples, in nats a token."""
    flops_per_second: float | None = None
    step_seconds: float | None = None
    """Of clipping and AdamW, for one trained parameter."""
    unknown: str | None = None
    """Why these are none."""


def measure(data: Path, read: Data, settings: Settings, profile: PassProfile) -> Measured:
    """Measure on some training steps of LoRA; nothing is kept.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`.
        read: its content.
        settings: `base`, `tune` and the project's seed matter.
        profile: of LoRA's largest pack.

    Raises:
        BadInput: the base cannot be trained.
    """
    log.info("measuring the base model's loss, and the speed of some training steps")
    tune = configured(settings.tune, {METHOD: "lora", "tune.validation_examples": _LOSS_EXAMPLES})
    settings = settings.replace(tune=tune)
    prepared = trainer.prepare(data, settings, read=read)
    whole = batches(read.train.groups, tune, settings.project.seed)[0]
    batch, pass_seconds, step_seconds = _timed_step(prepared, settings, whole)
    flops = count_tokens(batch) * profile.flops / profile.tokens
    return Measured(prepared.base_loss, flops / pass_seconds, step_seconds / profile.trained)


def _timed_step(
    prepared: trainer.Prepared, settings: Settings, whole: Sequence[Group]
) -> tuple[Sequence[Group], float, float]:
    """The batch that was timed, seconds of its passes, and of the optimiser's step."""
    reference = trainer.reference_of(prepared, [whole])
    few = sorted(whole, key=lambda group: group.tokens)[-2:]
    trial = TrialRun(Path(), settings)
    with (
        trainer.attach(prepared, [trial], settings.tune.max_steps) as (run,),
        pack_executor(run.adapted.network, execution=prepared.execution) as packs,
    ):

        def timed(batch: Sequence[Group]) -> tuple[float, float]:
            began = time.perf_counter()
            losses, gradients = trainer.backward([run], batch, packs, prepared.objective, reference)
            between = time.perf_counter()
            run.take_step(gradients[0], losses[0], count_tokens(batch))
            if prepared.base.device.type != "cpu":
                torch.accelerator.synchronize()
            return between - began, time.perf_counter() - between

        timed(few)  # builds kernels and buffers
        pass_seconds, step_seconds = timed(few)
        if pass_seconds * count_tokens(whole) / count_tokens(few) < _SECONDS:
            return whole, *timed(whole)
        return few, pass_seconds, step_seconds


def count_tokens(groups: Sequence[Group]) -> int:
    """Tokens of these groups."""
    return sum(group.tokens for group in groups)
