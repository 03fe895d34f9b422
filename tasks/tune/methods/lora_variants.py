"""LoRA's relatives: on a quantised base, with magnitudes apart, with ranks allotted, and IA³."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import AdaLoraConfig, IA3Config, PeftModel
from peft.utils import (
    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as KNOWN_FEEDFORWARD,
)
from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as KNOWN_TARGETS

from tasks.settings import Settings
from tasks.tune.methods.adapters import PeftAdapter, peft_model
from tasks.tune.methods.contract import AdaptedModel, Weights
from tasks.tune.methods.lora import config as lora_config
from tasks.tune.methods.settings import Ia3, LowRank
from tasks.tune.methods.targets import excluded_modules, target_modules
from tasks.tune.settings import Tune

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def dora(base: "PreTrainedModel", tune: Tune, _steps: int) -> Iterator[AdaptedModel]:
    """DoRA: LoRA gives the direction, a vector beside it each output's magnitude.

    Liu et al. 2024, https://arxiv.org/abs/2402.09353
    """
    config = lora_config(base, tune)
    config.use_dora = True
    with peft_model(base, config) as model:
        yield PeftAdapter(model)


@contextmanager
def adalora(base: "PreTrainedModel", tune: Tune, steps: int) -> Iterator[AdaptedModel]:
    """AdaLoRA: every layer begins with a rank of 1.5 r, and the least important ranks are taken
    away until r is left on average.

    Ranks are all kept for the first tenth of the steps and stay as they are for the last three
    tenths. Zhang et al. 2023, https://arxiv.org/abs/2303.10512
    """
    # Below two steps there is no importance to go by, and PEFT's allocator fails.
    settings, total = tune.method.of(LowRank), max(steps, 2)
    config = AdaLoraConfig(
        task_type="CAUSAL_LM",
        init_r=math.ceil(1.5 * settings.rank),
        target_r=settings.rank,
        tinit=total // 10,
        tfinal=3 * total // 10,
        deltaT=max(1, total // 100),
        total_step=total,
        lora_alpha=settings.scaling_alpha,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        target_modules=target_modules(base, settings.target_modules),
        exclude_modules=excluded_modules(base, settings.target_modules),
    )
    with peft_model(base, config) as model:
        yield AdaLora(model)


_AVERAGES = ("exp_avg_ipt", "exp_avg_unc")


class AdaLora(PeftAdapter):
    """An AdaLoRA adapter: matrices A and B, and between them a vector E whose zeros are the ranks
    that were taken away."""

    def __init__(self, model: PeftModel) -> None:
        super().__init__(model)
        self._tuner: Any = model.base_model
        self._config: Any = model.peft_config[self.name]
        self._allocator: Any = self._tuner.rankallocator
        for name, parameter in model.named_parameters():
            if ".ranknum." in name:
                parameter.requires_grad_(False)  # PEFT lets it be trained on a half-precision base

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """Without the first rank of each layer, which PEFT keeps as a parameter to divide by."""
        return {
            name: parameter
            for name, parameter in super().parameters().items()
            if parameter.requires_grad
        }

    def penalty(self) -> torch.Tensor:
        """How far A and B are from orthogonal, the mean over all of them, as PEFT weighs it."""
        distances = []
        for name, matrix in self.parameters().items():
            if not name.endswith("lora_E"):
                square = matrix @ matrix.T if name.endswith("lora_A") else matrix.T @ matrix
                distances.append(torch.linalg.norm(square - torch.eye(len(square)).to(square)))
        weight: float = self._config.orth_reg_weight
        return weight * torch.stack(distances).mean()

    def after_step(self, step: int) -> None:
        """Take note of what mattered, and take ranks away."""
        self._tuner.update_and_allocate(step)

    def state(self) -> dict[str, torch.Tensor]:
        """With how much each number has mattered so far; which ranks are left is seen from E."""
        averages = {
            f"{average}:{name}": value.clone()
            for average in _AVERAGES
            for name, value in getattr(self._allocator, average).items()
        }
        return super().state() | averages

    def load_state(self, state: Weights) -> None:
        """As `AdaptedModel.load_state`."""
        super().load_state(state)
        for average in _AVERAGES:
            found = {
                name.removeprefix(f"{average}:"): value.clone()
                for name, value in state.items()
                if name.startswith(f"{average}:")
            }
            setattr(self._allocator, average, found)
            # The latest value, of which the allocator asks only whether there was one.
            self._allocator.ipt = dict(found)
        self._config.rank_pattern = {
            name: (parameter != 0).flatten().tolist()
            for name, parameter in self._tuner.model.named_parameters()
            if name.endswith(f"lora_E.{self.name}")
        }

    def export(self) -> dict[str, torch.Tensor]:
        """The weights with all ranks, those taken away being zeros in E."""
        return {
            name: parameter.detach().cpu().clone() for name, parameter in self.parameters().items()
        }

    def write(self, folder: Path, weights: Weights, settings: Settings) -> None:
        """A plain PEFT folder with the ranks that are left."""
        kept = {
            name.removesuffix("lora_E"): matrix.flatten() != 0
            for name, matrix in weights.items()
            if name.endswith("lora_E")
        }
        left = {}
        for name, matrix in weights.items():
            layer, _, part = name.rpartition(".")
            rows = kept[f"{layer}."]
            left[name] = matrix[:, rows].contiguous() if part == "lora_B" else matrix[rows]
        now = self._config.rank_pattern
        self._config.rank_pattern = {
            f"{layer.removeprefix('base_model.model.')}lora_E": rows.tolist()
            for layer, rows in kept.items()
        }
        try:
            super().write(folder, left, settings)
        finally:
            self._config.rank_pattern = now


@contextmanager
def ia3(base: "PreTrainedModel", tune: Tune, _steps: int) -> Iterator[AdaptedModel]:
    """IA³: a factor for each key, each value, and each number inside the feedforward block.

    The modules are PEFT's own choice for the architecture, or found by names; only a list of names
    in `tune.method.target_modules` goes before them. Liu et al. 2022, https://arxiv.org/abs/2205.05638

    Raises:
        BadInput: the base has no modules of these or known names.
    """
    with peft_model(base, _ia3_config(base, tune)) as model:
        yield PeftAdapter(model)


def check_ia3(base: "PreTrainedModel", tune: Tune) -> None:
    """Raises BadInput: the base has no modules of these or known names."""
    _ia3_config(base, tune)


def _ia3_config(base: "PreTrainedModel", tune: Tune) -> IA3Config:
    targets_given = tune.method.of(Ia3).target_modules
    named = isinstance(targets_given, list)
    kind = base.config.model_type
    if not named and kind in KNOWN_TARGETS and kind in KNOWN_FEEDFORWARD:
        targets, feedforward = KNOWN_TARGETS[kind], KNOWN_FEEDFORWARD[kind]
    else:
        inside = feedforward_outputs(base)
        attention = target_modules(base, targets_given if named else "qv")
        targets = list(attention) if named else [*attention, *inside]
        feedforward = [
            name for name in targets if any(f".{output}".endswith(f".{name}") for output in inside)
        ]
    return IA3Config(task_type="CAUSAL_LM", target_modules=targets, feedforward_modules=feedforward)


def feedforward_outputs(base: "PreTrainedModel") -> list[str]:
    """The linear layers that lead out of the feedforward blocks, by the last two parts of their
    names: in numbered layers, outside attention, as wide as the model."""
    return sorted(
        {
            ".".join(name.split(".")[-2:])
            for name, module in base.named_modules()
            if isinstance(module, torch.nn.Linear)
            and module.out_features == base.config.get_text_config().hidden_size
            and re.search(r"\.\d+\.", name)
            and not re.search(r"attn|attention", name, re.IGNORECASE)
        }
    )
