"""LoRA, alone or in lanes: several adapters that share each pass through one frozen base."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTuner

from tasks.core.errors import BadInput
from tasks.tune.methods.adapters import PeftAdapter, peft_model
from tasks.tune.methods.contract import AdaptedModel
from tasks.tune.methods.fused_lora import fuse
from tasks.tune.methods.settings import LowRank
from tasks.tune.methods.targets import excluded_modules, target_modules
from tasks.tune.settings import Tune

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def config(base: "PreTrainedModel", tune: Tune) -> LoraConfig:
    """PEFT's configuration (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""
    settings = tune.method.of(LowRank)
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.scaling_alpha,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        target_modules=target_modules(base, settings.target_modules),
        exclude_modules=excluded_modules(base, settings.target_modules),
    )


def check(base: "PreTrainedModel", tune: Tune) -> None:
    """Whether the base has a place for LoRA or one of its relatives.

    Raises:
        BadInput: it has none of the modules, or the rank is beyond its width.
    """
    settings = tune.method.of(LowRank)
    target_modules(base, settings.target_modules)
    width = base.config.get_text_config().hidden_size
    if settings.rank > width:
        raise BadInput(
            f"tune.method.rank: {settings.rank} is above the width of {type(base).__name__}, which "
            f"is {width}; choose {width} or less (8 to 64 are usual)"
        )


@contextmanager
def lora(base: "PreTrainedModel", tune: Tune, _steps: int) -> Iterator[AdaptedModel]:
    """One LoRA adapter."""
    with lanes(base, [tune]) as (adapted,):
        yield adapted


@contextmanager
def lanes(base: "PreTrainedModel", tunes: Sequence[Tune]) -> "Iterator[list[Lane]]":
    """One LoRA adapter for each of `tunes` on one base; each pack goes through all of them.

    The adapters begin as each would alone from the seed that PyTorch stands at.
    """
    seed = torch.random.get_rng_state()
    names = ["default", *(f"lane{number}" for number in range(1, len(tunes)))]
    with peft_model(base, config(base, tunes[0])) as model:
        for name, tune in zip(names[1:], tunes[1:], strict=True):
            torch.random.set_rng_state(seed)
            model.add_adapter(name, config(base, tune))
        fuse(model)
        adapted = [Lane(model, name) for name in names]
        adapted[0].set_active(adapted)
        yield adapted


class Lane(PeftAdapter):
    """A LoRA adapter that shares passes with others of its model."""

    def set_active(self, active: Sequence[AdaptedModel]) -> None:
        """Let these adapters of one model be the lanes."""
        names = [lane.name for lane in active if isinstance(lane, Lane)]
        if names != self.model.active_adapters:
            cast(BaseTuner, self.model.base_model).set_adapter(names)
