"""Methods that train the base's own weights: all of them, or those of some modules.

A trained weight is a float32 master while the model is attached. On a bfloat16 or float16 base each
use of it casts it to the base's type, so that the network computes exactly what the weights that
are written, in the base's type, will compute; steps too small for that type still add up in the
master. (Autocast would keep activations in float32 between layers: another model than the written
one.) What is not trained stays as it is.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn.utils import parametrize

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model import base_model
from tasks.settings import Settings
from tasks.tune.methods.contract import AdaptedModel, Weights
from tasks.tune.methods.settings import FeatureExtraction
from tasks.tune.methods.targets import closest
from tasks.tune.settings import Tune

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_Modules = dict[str, torch.nn.Module]
_Parameters = dict[str, torch.nn.Parameter]


class OwnWeights(AdaptedModel):
    """Parameters of the base itself, trained in place of the originals."""

    def __init__(self, base: "PreTrainedModel", modules: _Modules) -> None:
        self.network: PreTrainedModel = base
        self._modules = {name: module for name, module in modules.items() if module._parameters}
        self._originals = {name: dict(module._parameters) for name, module in self._modules.items()}
        # Weights that are tied among themselves have one master, under the first of their names.
        self._named: dict[torch.nn.Parameter, str] = {}
        for name, part, original in self._places():
            self._named.setdefault(original, f"{name}.{part}".removeprefix("."))
        self._masters = {
            name: torch.nn.Parameter(original.detach().to(torch.float32, copy=True))
            for original, name in self._named.items()
        }

    def parameters(self) -> _Parameters:
        """The masters, under the names of the base's own parameters."""
        return dict(self._masters)

    def export(self) -> dict[str, torch.Tensor]:
        """The trained weights in the base's type; what is not trained comes in with `write`."""
        return {
            name: self._masters[name].detach().to("cpu", original.dtype, copy=True)
            for original, name in self._named.items()
        }

    def write(self, folder: Path, weights: Weights, settings: Settings) -> None:
        """A model folder with its tokenizer, usable alone."""
        base = self.network
        configs = {id(config): config for config in (base.config, base.config.get_text_config())}
        before = {number: dict(vars(config)) for number, config in configs.items()}
        with files.atomic_folder(folder) as building:
            self.restore(weights)
            try:
                head = base.get_output_embeddings()
                if head is not None and head.weight is not base.get_input_embeddings().weight:
                    for config in configs.values():
                        config.tie_word_embeddings = False
                base.save_pretrained(building)
            finally:
                for number, config in configs.items():
                    vars(config).clear()
                    vars(config).update(before[number])
                self.install()
            base_model.load_tokenizer(settings).save_pretrained(building)

    def install(self) -> None:
        """Put the masters in the place of the originals."""
        for name, part, original in self._places():
            module = self._modules[name]
            module._parameters[part] = self._masters[self._named[original]]
            if original.dtype != torch.float32:
                parametrize.register_parametrization(
                    module, part, _Cast(original.dtype), unsafe=True
                )

    def restore(self, weights: Weights | None = None) -> None:
        """Put `weights` of `export` where the masters are, or the originals again."""
        given = {
            name: torch.nn.Parameter(weight, False) for name, weight in (weights or {}).items()
        }
        for name, module in self._modules.items():
            for part in self._originals[name]:
                if parametrize.is_parametrized(module, part):
                    parametrize.remove_parametrizations(module, part, leave_parametrized=False)
            module._parameters.clear()  # refilled whole, for the order of the names
            module._parameters.update(
                {
                    part: None if original is None else given.get(self._named[original], original)
                    for part, original in self._originals[name].items()
                }
            )

    def _places(self) -> Iterator[tuple[str, str, torch.nn.Parameter]]:
        for name, parameters in self._originals.items():
            for part, original in parameters.items():
                if original is not None:
                    yield name, part, original


class _Cast(torch.nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, master: torch.Tensor) -> torch.Tensor:
        return master.to(self.dtype)


@contextmanager
def full(base: "PreTrainedModel", _tune: Tune, _steps: int) -> Iterator[AdaptedModel]:
    """All of the base's weights.

    Raises:
        BadInput: the base is quantised.
    """
    if _quantised(base.modules()):
        raise BadInput(
            "tune.method: full trains every weight, and the base is kept in 4 bits; "
            "set base.quantisation to null, or tune.method to qlora"
        )
    with _trained(base, dict(base.named_modules())) as adapted:
        yield adapted


@contextmanager
def feature_extraction(base: "PreTrainedModel", tune: Tune, _steps: int) -> Iterator[AdaptedModel]:
    """The output head, or the modules that `tune.method.trained_modules` names, on a frozen base.

    A head that is tied to the input embeddings is untied from them, unless both are trained.

    Raises:
        BadInput: the base has no such module, or it is quantised.
    """
    chosen = _chosen(base, tune)
    with _trained(base, chosen) as adapted:
        yield adapted


def check_chosen(base: "PreTrainedModel", tune: Tune) -> None:
    """Raises BadInput: the base has no module that `tune.method.trained_modules` names."""
    _chosen(base, tune)


def _chosen(base: "PreTrainedModel", tune: Tune) -> _Modules:
    """The modules that `tune.method.trained_modules` names, with all inside them."""
    named: _Modules = dict(base.named_modules())
    chosen: _Modules = {}
    endings = tune.method.of(FeatureExtraction).trained_modules
    for ending in endings:
        found = {name for name in named if f".{name}".endswith(f".{ending}")}
        if ending == "lm_head" and not found:  # the head's name in many architectures, not in all
            head = base.get_output_embeddings()
            found = {name for name, module in named.items() if module is head}
        inside = {
            name: module
            for name, module in named.items()
            if any(f"{name}.".startswith(f"{outer}.") for outer in found)
        }
        if not any(module._parameters for module in inside.values()):
            known = {
                name.rpartition(".")[2] for name, module in named.items() if module._parameters
            }
            raise BadInput(
                f"tune.method.trained_modules: no module with weights of {type(base).__name__} "
                f"ends with {ending!r}; {closest(ending, known)}"
            )
        chosen |= inside
    if _quantised(chosen.values()):
        raise BadInput(
            f"tune.method.trained_modules: {', '.join(endings)} are kept in 4 bits; "
            "set base.quantisation to null, or train lm_head"
        )
    # In the base's order, whatever the order of the settings.
    return {name: module for name, module in named.items() if name in chosen}


@contextmanager
def _trained(base: "PreTrainedModel", modules: _Modules) -> Iterator[AdaptedModel]:
    trainable = {parameter: parameter.requires_grad for parameter in base.parameters()}
    adapted = OwnWeights(base, modules)
    base.requires_grad_(False)
    adapted.install()
    try:
        yield adapted
    finally:
        adapted.restore()
        for parameter, was in trainable.items():
            parameter.requires_grad_(was)


def _quantised(modules: Iterable[torch.nn.Module]) -> bool:
    return any(
        parameter is not None and not parameter.is_floating_point()
        for module in modules
        for parameter in module._parameters.values()
    )
