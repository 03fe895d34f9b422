"""The methods of adaptation, each a PEFT configuration made from the settings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model

from tasks.errors import BadInput
from tasks.settings import Tune
from tasks.tune.lora import fuse

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def lora(tune: Tune) -> PeftConfig:
    """Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=tune.rank,
        lora_alpha=alpha(tune),  # type: ignore[arg-type]
        lora_dropout=tune.dropout,
        target_modules=tune.target_modules,
    )


METHODS: dict[str, Callable[[Tune], PeftConfig]] = {"lora": lora}


def alpha(tune: Tune) -> int | float:
    """LoRA's alpha as set, or twice the rank: the update is then scaled by 2 whatever the rank."""
    given = 2 * tune.rank if tune.alpha is None else tune.alpha
    return int(given) if given == int(given) else given


@contextmanager
def adapted(base: "PreTrainedModel", tune: Tune) -> Iterator[PeftModel]:
    """The base model with a fresh adapter on it; afterwards the base is what it was.

    Only the adapter is trainable; its weights are float32 whatever the base's type.

    Raises:
        BadInput: the base has none of `tune.target_modules`.
    """
    try:
        model = get_peft_model(base, METHODS[tune.method](tune))
    except ValueError as error:
        raise BadInput(f"tune.target_modules: {error}") from error
    try:
        fuse(model)
        yield model
    finally:
        model.unload()
