"""A run: one configuration in training, with its weights, its optimiser and its curve."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tasks.tune.methods.contract import AdaptedModel
from tasks.tune.settings import Tune

CurveRow = dict[str, Any]
"""A step of the curve: `step` (from 1), `train_loss` (nats a target, before the step),
`learning_rate`, `tokens` (of the batch), `gradient_norm` (before clipping), `seconds` (spent on
this run so far), and where an evaluation was due, `validation_loss`, and `validation_metrics` if
the objective has some."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an adapter achieves on the validation data."""

    losses: torch.Tensor
    """Loss of each validation group [G], in float64."""
    weight: int
    """What the groups weigh together in the mean: learned tokens, or groups."""
    metrics: Mapping[str, float]
    """What the objective reports beside the loss: means over the groups."""

    @property
    def loss(self) -> float:
        """The validation loss."""
        return float(self.losses.sum() / self.weight)


class Run:
    """One configuration in training, and what it has come to so far.

    Args:
        adapted: what is trained.
        tune: the configuration.
        peak_lr: learning rate at the end of the warm-up.
        steps: optimiser steps of the whole run.
        dtype: of the base, before anything was put in it; losses are scaled for float16.
    """

    def __init__(
        self,
        adapted: AdaptedModel,
        tune: Tune,
        peak_lr: float,
        steps: int,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.adapted, self.tune, self.peak_lr, self.steps = adapted, tune, peak_lr, steps
        self.dtype = dtype
        self.parameters = list(adapted.parameters().values())
        device = self.parameters[0].device
        self.optimizer = torch.optim.AdamW(
            self.parameters, weight_decay=tune.weight_decay, fused=device.type in ("cpu", "cuda")
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self.curve: list[CurveRow] = []
        self.best_loss = math.inf
        self.best_weights: dict[str, torch.Tensor] | None = None
        """The weights of `best_loss`, unless a file holds them already."""
        self.best_losses: list[float] = []
        """Loss of each validation group behind `best_loss`."""
        self.evaluations: list[list[float]] = []
        """Loss of each validation group at each evaluation so far: the selection bias of the best
        one is estimated from these."""
        self.evals_without_improvement = 0
        self.computed: list[dict[str, Any]] = []
        """`Conditions` of its steps so far, as JSON."""
        self.seconds = 0.0
        self.failure: str | None = None

    @property
    def step(self) -> int:
        """Steps taken."""
        return len(self.curve)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do: all steps taken, no improvement for `tune.patience`
        evaluations, or divergence."""
        stopped = self.evals_without_improvement >= self.tune.patience
        return self.step >= self.steps or stopped or self.failure is not None

    def take_step(self, gradients: Sequence[torch.Tensor], loss: float, tokens: int) -> None:
        """Take an optimiser step.

        Args:
            gradients: of the (scaled) loss by each parameter.
            loss: the loss before the step, in nats a learned token for supervised training.
            tokens: those of the batch.
        """
        rate = self.peak_lr * lr_multiplier(self.step + 1, self.steps, self.tune)
        if not math.isfinite(loss):
            self.failure = f"the training loss is {loss} at step {self.step + 1}"
            return
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.tune.max_gradient_norm)
        if not self.scaler.is_enabled() and not math.isfinite(norm):  # a scaler skips such a step
            self.failure = f"the gradient is {float(norm)} at step {self.step + 1}"
            return
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.adapted.after_step(self.step + 1)
        self.optimizer.zero_grad()
        row = {"step": self.step + 1, "train_loss": loss, "learning_rate": rate, "tokens": tokens}
        if math.isfinite(norm):
            row["gradient_norm"] = float(norm)
        self.curve.append(row)

    def record_evaluation(self, evaluation: Evaluation) -> None:
        """Record an evaluation after the last step, and keep the weights if they are the best."""
        loss, losses = evaluation.loss, evaluation.losses.tolist()
        if not math.isfinite(loss):
            self.failure = f"the validation loss is {loss} at step {self.step}"
            return
        self.curve[-1]["validation_loss"] = loss
        if evaluation.metrics:
            self.curve[-1]["validation_metrics"] = evaluation.metrics
        self.evaluations.append(losses)
        self.evals_without_improvement += 1
        if loss < self.best_loss:
            self.best_loss, self.best_losses = loss, losses
            self.best_weights, self.evals_without_improvement = self.adapted.export(), 0


def evaluation_steps(steps: int, evaluations: int) -> set[int]:
    """The steps after which to evaluate: evenly spread, the last one among them."""
    return {math.ceil(steps * i / evaluations) for i in range(1, evaluations + 1)}


def lr_multiplier(step: int, steps: int, tune: Tune) -> float:
    """The learning rate of a step (from 1) as a fraction of its peak.

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
