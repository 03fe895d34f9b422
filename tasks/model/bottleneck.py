"""Serial bottleneck adapters as a PEFT method: down, activation, up, added to each block's output.

Importing this module makes the method `BOTTLENECK` known to PEFT, which its folders need to load.
Houlsby et al. 2019, https://arxiv.org/abs/1902.00751; one adapter a block, after its feed-forward
part, is the form that Pfeiffer et al. 2021, https://arxiv.org/abs/2005.00247, found best.
"""

import re
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import PeftType, register_peft_method
from torch import nn
from torch.nn import functional
from transformers.activations import ACT2FN

_NAME = "BOTTLENECK"


@dataclass
class BottleneckConfig(PeftConfig):
    """What a bottleneck adapter is.

    Args:
        bottleneck_size: width of the bottleneck.
        bottleneck_dropout: dropout before it.
        activation: name of the activation, as transformers' configurations give it.
        target_modules: regular expression of the blocks' names, or names; None: all blocks.
    """

    bottleneck_size: int = field(default=64)
    bottleneck_dropout: float = field(default=0.0)
    activation: str = field(default="relu")
    target_modules: str | list[str] | None = field(default=None)

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = PeftType(_NAME)
        if self.bottleneck_size < 1:
            raise ValueError(f"bottleneck_size of at least 1, not {self.bottleneck_size}")
        if self.activation not in ACT2FN:
            raise ValueError(f"activation: transformers knows no {self.activation!r}")


class BottleneckLayer(nn.Module, BaseTunerLayer):
    """A block with adapters after it; several active ones follow one another."""

    adapter_layer_names = ("bottleneck_down", "bottleneck_up")
    other_param_names = ("bottleneck_dropout", "bottleneck_activation")

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, config: BottleneckConfig, width: int
    ) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.bottleneck_down = nn.ModuleDict()
        self.bottleneck_up = nn.ModuleDict()
        self.bottleneck_dropout = nn.ModuleDict()
        self.bottleneck_activation = nn.ModuleDict()
        self._width = width
        self._active_adapter = adapter_name
        self.merged_adapters: list[str] = []
        self.update_layer(adapter_name, config)

    def update_layer(self, adapter_name: str, config: BottleneckConfig) -> None:
        """Add an adapter, which changes nothing yet: it begins with zeros in `up`."""
        device = next(self.base_layer.parameters()).device
        new: dict[str, Any] = {"device": device, "dtype": torch.float32}
        up = nn.Linear(config.bottleneck_size, self._width, **new)
        nn.init.zeros_(up.weight)
        nn.init.zeros_(up.bias)
        self.bottleneck_up[adapter_name] = up
        self.bottleneck_down[adapter_name] = nn.Linear(self._width, config.bottleneck_size, **new)
        self.bottleneck_dropout[adapter_name] = nn.Dropout(config.bottleneck_dropout)
        self.bottleneck_activation[adapter_name] = ACT2FN[config.activation]
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the block gives, its hidden states adapted."""
        output = self.base_layer(*args, **kwargs)
        if self.disable_adapters:
            return output
        hidden = output[0] if isinstance(output, tuple) else output
        for name in self.active_adapters:
            if name in self.bottleneck_up:
                hidden = hidden + self._update(name, hidden)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    def _update(self, name: str, hidden: torch.Tensor) -> torch.Tensor:
        inner = self.bottleneck_dropout[name](hidden)
        inner = _linear(self.bottleneck_down[name], inner)
        return _linear(self.bottleneck_up[name], self.bottleneck_activation[name](inner))

    def __getattr__(self, name: str) -> Any:
        """What models ask a block for (the kind of its attention, say)."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base_layer":
                raise
            return getattr(self.base_layer, name)


class BottleneckModel(BaseTuner):
    """A model with bottleneck adapters after its blocks."""

    prefix = "bottleneck_"
    tuner_layer_cls = BottleneckLayer

    def _prepare_adapter_config(self, peft_config: Any, model_config: dict[str, Any]) -> Any:  # noqa: ARG002
        return peft_config

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:
        if peft_config.target_modules is None:
            peft_config.target_modules = rf"{re.escape(_blocks(model))}\.\d+"

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,  # noqa: ARG002
        parameter_name: str | None = None,  # noqa: ARG002
    ) -> None:
        if isinstance(target, BottleneckLayer):
            target.update_layer(adapter_name, peft_config)
            return
        width = cast(Any, self.model.config).get_text_config().hidden_size
        layer = BottleneckLayer(target, adapter_name, peft_config, width)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    def _replace_module(
        self,
        parent: nn.Module,
        child_name: str,
        new_module: nn.Module,
        child: nn.Module,  # noqa: ARG002
    ) -> None:
        # PEFT's own method also passes the weight on; a block has none.
        setattr(parent, child_name, new_module)

    def _check_merge_allowed(self) -> None:
        raise ValueError(
            "Bottleneck adapters cannot be merged: they are not linear, so no weight of the base "
            "model can stand for them. Use `unload()` to get the base model back."
        )


def _linear(layer: Any, hidden: torch.Tensor) -> torch.Tensor:
    return functional.linear(hidden, layer.weight.to(hidden.dtype), layer.bias.to(hidden.dtype))


def _blocks(model: nn.Module) -> str:
    """Name of the list of the model's blocks: the longest list that is in no other."""
    lists = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)
    }
    outer = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists)]
    if not outer:
        raise ValueError(f"{type(model).__name__} has no list of blocks; give target_modules")
    longest: str = max(outer, key=lambda name: len(lists[name]))
    return longest


def _register() -> None:
    """Make the method known to PEFT, whose enumeration of methods has no door for others'."""
    member = str.__new__(PeftType, _NAME)
    member._name_, member._value_ = _NAME, _NAME
    setattr(PeftType, _NAME, member)
    PeftType._member_names_.append(_NAME)
    PeftType._member_map_[_NAME] = member
    PeftType._value2member_map_[_NAME] = member
    register_peft_method(name=_NAME.lower(), config_cls=BottleneckConfig, model_cls=BottleneckModel)


if _NAME not in PeftType.__members__:
    _register()
