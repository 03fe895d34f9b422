"""The profile of one pass: what the forward and backward of a pack allocate and compute.

What a backward pass keeps of the forward depends on architecture and method; formulas, such as
those of Korthikanti et al. 2022 (https://arxiv.org/abs/2205.05198), hold for one of each. So the
pass is run on PyTorch's `meta` device, where tensors have shapes but no bytes, and what would be
allocated is counted. Layers that are alike need not all be run: the difference between two and
three of them is what each further layer adds.
"""

import gc
import re
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from tasks.tune.data.groups import Group
from tasks.tune.data.packing import score
from tasks.tune.methods import METHODS
from tasks.tune.methods.contract import AdaptedModel
from tasks.tune.objectives import Objective, objective_of
from tasks.tune.plan.meta_device import (
    META,
    flop_counter,
    quantise,
    recomputation,
    simulated,
    weight_bytes,
)
from tasks.tune.settings import Tune
from tasks.tune.train.execution import PACKED, Execution, draws_randomly

FLOAT32_BYTES = 4
# Schedules of many steps begin without decisions that need values.
_STEPS = 1000


@dataclass(frozen=True, slots=True)
class BaseSpec:
    """What a profile needs to know of a base model: all but its weights."""

    config: PreTrainedConfig
    dtype: torch.dtype
    """Of its weights, or in which NF4 weights are computed."""
    quantised: bool = False
    """The frozen weights are in NF4, whatever the method asks for."""
    device_type: str = "cpu"
    """Where training runs: attention is computed in float32 on a `cpu`."""
    trust_remote_code: bool = False

    @classmethod
    def of_loaded(cls, base: PreTrainedModel) -> Self:
        """That of a loaded model."""
        return cls(
            config=base.config,
            dtype=base.get_input_embeddings().weight.dtype,  # type: ignore[arg-type]
            quantised=bool(getattr(base, "is_loaded_in_4bit", False)),
            device_type=base.device.type,
            trust_remote_code=type(base).__module__.startswith("transformers_modules."),
        )

    def without_weights(self, layers: int | None = None) -> PreTrainedModel:
        """The model on the meta device: whole, or its first `layers` layers."""
        config = deepcopy(self.config)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        text = config.get_text_config()
        if layers is not None:
            if getattr(text, "layer_types", None):
                text.layer_types = text.layer_types[:layers]
            text.num_hidden_layers = layers
        with META:
            model: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, dtype=self.dtype, trust_remote_code=self.trust_remote_code
            )
        return model


@dataclass(frozen=True, slots=True)
class PassProfile:
    """One forward and backward of a pack through an adapted model; sizes in bytes."""

    parameters: int
    """All that the adapted model has."""
    trained: int
    """Those of them that are trained."""
    base_parameters: int
    weights: int
    """Weights and buffers of the base, as they are stored."""
    added: int
    """What the method adds to them: trained weights, in float32."""
    activations: int
    """What the forward leaves for the backward."""
    intermediate: int
    """Peak of what is allocated and released on top of the activations or of the gradients,
    whichever is more."""
    best: int
    """A copy of what is trained, in the type of the file that holds it."""
    forward_flops: int
    """Floating-point operations of the forward."""
    flops: int
    """Those of forward and backward."""
    tokens: int
    """Tokens of the examples; a beginning that several share counts for each of them."""
    targets: int
    """Learned tokens of the examples, counted in the same way."""


def profile_pass(
    spec: BaseSpec, tune: Tune, groups: Sequence[Group], execution: Execution = PACKED
) -> PassProfile:
    """Profile one pack in a model without weights.

    Args:
        spec: the base model.
        tune: the method, and its settings.
        groups: those of the pack.
        execution: how the base reads the pack.

    Raises:
        BadInput: the method has no place in this model.
        Exception: whatever an architecture raises where tensors have no values.
    """

    def profile(layers: int | None) -> PassProfile:
        return _profile(spec, spec.without_weights(layers), tune, groups, execution)

    count = spec.config.get_text_config().num_hidden_layers
    method = tune.method.plain()
    named = [*method.get("trained_modules", []), *method.get("target_modules", [])]
    if count <= 3 or any(re.search(r"\.\d+(\.|$)", name) for name in named):
        return profile(None)
    if not _layers_are_alike(spec.without_weights(), count):
        return profile(None)
    two, three = profile(2), profile(3)
    extrapolated = {
        field.name: getattr(three, field.name)
        + (count - 3) * (getattr(three, field.name) - getattr(two, field.name))
        for field in fields(PassProfile)
        if field.name not in ("intermediate", "tokens", "targets")
    }
    return PassProfile(
        **extrapolated,
        intermediate=three.intermediate,
        tokens=three.tokens,
        targets=three.targets,
    )


def _profile(
    spec: BaseSpec,
    base: PreTrainedModel,
    tune: Tune,
    groups: Sequence[Group],
    execution: Execution,
) -> PassProfile:
    base_parameters = sum(parameter.numel() for parameter in base.parameters())
    in_nf4 = spec.quantised or METHODS.get(tune.method.name).quantised
    weights, largest = quantise(base) if in_nf4 else (weight_bytes(base), 0)
    targets = sum(group.targets for group in groups)
    with ExitStack() as stack:
        stack.enter_context(simulated(targets))
        live = stack.enter_context(_LiveBytes(base))
        kernels = "cpu" if spec.device_type == "cpu" else "cuda"
        stack.enter_context(execution.attention(base, kernels))
        if tune.gradient_checkpointing:
            base.gradient_checkpointing_enable(recomputation(targets))
        adapted = stack.enter_context(METHODS.get(tune.method.name).attach(base, tune, _STEPS))
        added = live.now
        adapted.network.train()
        trained, parameters = adapted.counts()
        steps = _train_step(adapted, live, groups, execution, objective_of(tune))
        best = sum(weight.nbytes for weight in adapted.export().values())
        # AdaLoRA keeps its estimates of importance from the first step on.
        before = live.now
        adapted.after_step(1)
        added += live.now - before
    on_top = steps.peak - max(steps.activations, FLOAT32_BYTES * trained)
    return PassProfile(
        parameters=parameters,
        trained=trained,
        base_parameters=base_parameters,
        weights=weights,
        added=added,
        activations=steps.activations,
        intermediate=max(0, on_top) + largest,
        best=best,
        forward_flops=steps.forward_flops,
        flops=steps.flops,
        tokens=sum(group.tokens for group in groups),
        targets=steps.targets,
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """Forward and backward of one pack."""

    activations: int
    peak: int
    forward_flops: int
    flops: int
    targets: int


def _train_step(
    adapted: AdaptedModel,
    live: "_LiveBytes",
    groups: Sequence[Group],
    execution: Execution,
    objective: Objective,
) -> _Step:
    parameters = list(adapted.parameters().values())
    shared = not draws_randomly(adapted.network)
    packed = execution.lay(groups, parameters[0].device, shared=shared)
    reference = dict.fromkeys(packed.ids, 0.0) if objective.needs_reference else None
    before = live.now
    with flop_counter() as flops:
        live.peak = 0
        loss = objective.total_loss(
            score(adapted.network, packed, adapted.inputs(packed), reference)
        ).sum()
        activations, forward = live.now - before, flops.get_total_flops()
        torch.autograd.backward(loss, inputs=parameters)
        penalty = adapted.penalty()
        if penalty is not None:
            torch.autograd.grad(penalty, parameters, allow_unused=True, materialize_grads=True)
    return _Step(
        activations=activations,
        peak=live.peak - before,
        forward_flops=forward,
        flops=flops.get_total_flops(),
        targets=len(packed.targets),
    )


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of live tensors, without those that `base` has when it begins."""

    def __init__(self, base: torch.nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        for tensor in [*base.parameters(), *base.buffers()]:
            self._count(tensor)
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # Where PyTorch takes an operation apart, helpers that refer to each other keep its tensors.
        gc.collect(0)
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf)
        self.peak = max(self.peak, self.now)
        return result

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self._seen:
            self._seen.add(storage)
            self.now += storage.nbytes()
            weakref.finalize(storage, self._release, storage.nbytes())

    def _release(self, size: int) -> None:
        self.now -= size


def _layers_are_alike(base: PreTrainedModel, count: int) -> bool:
    """Whether each of `count` layers has parameters of the same shapes."""
    for module in base.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            shapes = [[parameter.shape for parameter in layer.parameters()] for layer in module]
            return all(layer == shapes[0] for layer in shapes)
    return False
