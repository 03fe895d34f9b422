"""Bottleneck adapters in training; `tasks.bottleneck` is the PEFT method."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tasks.bottleneck import BottleneckConfig
from tasks.settings import Tune
from tasks.tune.methods.adapters import PeftAdapted, peft_model
from tasks.tune.methods.contract import Adapted

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def bottleneck(base: "PreTrainedModel", tune: Tune, _steps: int) -> Iterator[Adapted]:
    """A bottleneck adapter after each block."""
    config = BottleneckConfig(
        task_type="CAUSAL_LM",
        bottleneck_size=tune.bottleneck_size,
        bottleneck_dropout=tune.dropout,
    )
    with peft_model(base, config) as model:
        yield PeftAdapted(model)
