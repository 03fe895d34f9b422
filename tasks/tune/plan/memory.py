"""How much memory training takes: reckoned before, and measured while it runs.

What stays the same whatever the method is arithmetic: a trained parameter costs 4 bytes of weight,
4 of gradient in each pack under way and in their sum, and 8 of AdamW's two moments, all in float32
(Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054, section 3.1); a frozen one costs the
bytes of its type, in NF4 4.127 bits (Dettmers et al. 2023, https://arxiv.org/abs/2305.14314).

What a backward pass keeps of the forward depends on architecture and method; formulas, such as
those of Korthikanti et al. 2022 (https://arxiv.org/abs/2205.05198), hold for one of each. So the
pass itself is run on PyTorch's `meta` device, where tensors have shapes but no bytes, and what
would be allocated is counted. Layers that are alike need not all be run: two and three tell what
one of them adds.
"""

import contextlib
import ctypes
import gc
import logging
import re
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model.encoding import Example
from tasks.settings import Settings, Tune
from tasks.tune.data.batching import batches
from tasks.tune.data.packing import summed_losses
from tasks.tune.methods import METHODS
from tasks.tune.train.execution import PACKED, Execution
from tasks.tune.train.loop import draws_randomly

log = logging.getLogger(__name__)

_META = torch.device("meta")
_FLOAT32 = 4
# NF4 with double quantisation: 4 bits, an 8-bit constant for 64 weights, a float32 one for 256
# of those.
_NF4_BYTES = 4 / 8 + 1 / 64 + 4 / (64 * 256)
# Schedules of many steps begin without decisions that need values.
_STEPS = 1000
# What a CPU's allocator holds beyond what passes use. glibc's cannot put an aligned block into a
# hole of just its size, gives each thread heaps of its own, and packs differ from step to step;
# measured, not derived: benchmarks/tuning/memory.md.
_HOLES = 0.3
_FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
_GROUPED = (torch._grouped_mm, functional.grouped_mm)
_ATTENTION_FLOPS = {
    _FLASH: lambda query, key, value, *_, **__: sdpa_flop_count(query, key, value),
    _FLASH_BACKWARD: lambda out, query, key, value, *_, **__: sdpa_backward_flop_count(
        out, query, key, value
    ),
}


@dataclass(frozen=True, slots=True)
class Pass:
    """One pack's way through an adapted model, forward and backward; sizes in bytes."""

    parameters: int
    """All that the adapted model has."""
    trained: int
    """Those of them that are trained."""
    base_parameters: int
    weights: int
    """The base's weights and buffers, as they lie in memory."""
    added: int
    """What lies beside them: trained weights, in float32."""
    activations: int
    """What the forward leaves for the backward."""
    intermediate: int
    """What comes and goes on top of that, or of the gradients, whichever is more."""
    best: int
    """A copy of what is trained, in the type of the file that it goes to."""
    forward_flops: int
    """Floating-point operations of the forward; of both in `flops`."""
    flops: int
    tokens: int
    """Tokens of the examples, what they share counted for each; so for `targets`."""
    targets: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak memory of training in bytes, by what it is for."""

    weights: int
    trained: int
    gradients: int
    optimiser: int
    activations: int
    intermediate: int
    allocator: int
    best: int
    runtime: int
    arithmetic: tuple[str, ...]
    """How each part comes about, a line each."""

    @property
    def parts(self) -> dict[str, int]:
        """The bytes of each part by its name."""
        return {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name != "arithmetic"
        }

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


def predict(
    one: Pass,
    *,
    packs: int = 1,
    packs_at_once: int = 1,
    lanes: int = 1,
    runtime: int = 0,
    device_type: str = "cpu",
) -> Memory:
    """Peak memory of training.

    Args:
        one: the largest pack's way through the model (`trace`).
        packs: packs of a step, at most.
        packs_at_once: those under way at a time (two on a CPU).
        lanes: adapters that share each pass.
        runtime: what the process takes without the model (`runtime`); 0 on an accelerator, whose
            driver's own memory stands neither in its measured peak nor in its free memory.
        device_type: where training runs; best weights are kept on the CPU.
    """
    at_once = min(packs, packs_at_once)
    trained = lanes * one.trained
    # Those whose backward is under way, and the sum of those before.
    sets = at_once + (packs > at_once)
    gradients = _FLOAT32 * trained
    activations = lanes * one.activations
    # While a pack's gradients come, its activations go: the more of the two counts.
    kept = max(0, activations - gradients)
    best = lanes * one.best if device_type == "cpu" else 0
    intermediate = at_once * lanes * one.intermediate
    passing = sets * gradients + at_once * kept + intermediate
    allocator = int(_HOLES * passing) if device_type == "cpu" else 0
    moments = 2 * _FLOAT32 * trained
    each = f"{activations // one.tokens:,} B a token"
    lines = (
        f"weights: {one.base_parameters:,} parameters of the base × "
        f"{one.weights / one.base_parameters:.2f} B = {_mb(one.weights)}",
        f"trained: {trained:,} × {_FLOAT32} B, float32, with what else the method holds = "
        f"{_mb(lanes * one.added)}",
        f"gradients: {trained:,} × {_FLOAT32} B × {sets} (packs under way, their sum) = "
        f"{_mb(sets * gradients)}",
        f"optimiser: {trained:,} × {2 * _FLOAT32} B, AdamW's two moments = {_mb(moments)}",
        f"activations: {one.tokens:,} tokens × {each} × {at_once} packs at once, of {packs}, less "
        f"the gradients whose place they leave = {_mb(at_once * kept)}",
        f"intermediate: logits of {one.targets:,} targets and the like, gone after use = "
        f"{_mb(intermediate)}",
        f"allocator: holes between what comes and goes, measured, {_HOLES:.0%} of "
        f"{_mb(passing)} on a CPU = {_mb(allocator)}",
        f"best: a copy of what is trained, as the best evaluation had it = {_mb(best)}",
        f"runtime: the process without the model, measured = {_mb(runtime)}",
    )
    return Memory(
        weights=one.weights,
        trained=lanes * one.added,
        gradients=sets * gradients,
        optimiser=moments,
        activations=at_once * kept,
        intermediate=intermediate,
        allocator=allocator,
        best=best,
        runtime=runtime,
        arithmetic=lines,
    )


def trace(
    config: PreTrainedConfig,
    tune: Tune,
    examples: Sequence[Example],
    *,
    dtype: torch.dtype,
    quantised: bool = False,
    device_type: str = "cpu",
    trust_remote_code: bool = False,
    execution: Execution = PACKED,
) -> Pass:
    """Follow one pack through a model of this configuration without weights.

    Args:
        config: of the base model.
        tune: the method, and its settings.
        examples: those of the pack.
        dtype: type of the base's weights, or what NF4 weights are computed in.
        quantised: the frozen weights are in NF4, whatever the method asks for.
        device_type: attention is computed in float32 on a `cpu`.
        trust_remote_code: as `base.trust_remote_code`.
        execution: how the base reads the pack.

    Raises:
        BadInput: the method has no place in this model.
        Exception: whatever an architecture raises where tensors have no values.
    """
    quantised = quantised or METHODS[tune.method].quantised

    def follow(layers: int | None) -> Pass:
        with _META:
            base = AutoModelForCausalLM.from_config(
                _with_layers(config, layers), dtype=dtype, trust_remote_code=trust_remote_code
            )
        return _follow(base, tune, examples, quantised, device_type == "cpu", execution)

    count = config.get_text_config().num_hidden_layers
    named = [*tune.trained_modules, *tune.target_modules]
    if count <= 3 or any(re.search(r"\.\d+(\.|$)", name) for name in named):
        return follow(None)
    with _META:
        whole = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    if not _layers_are_alike(whole, count):
        return follow(None)
    two, three = follow(2), follow(3)
    grown = {
        each.name: getattr(three, each.name)
        + (count - 3) * (getattr(three, each.name) - getattr(two, each.name))
        for each in fields(Pass)
    }
    return Pass(**grown | {"intermediate": three.intermediate})


def of_run(
    base: PreTrainedModel,
    examples: Sequence[Example],
    settings: Settings,
    lanes: int = 1,
    *,
    known: dict[str, Pass] | None = None,
    execution: Execution = PACKED,
) -> Memory | None:
    """Peak memory of the run that `settings.tune` describes, in this process.

    None, with a warning, where it cannot be predicted: then the work goes on without.

    Args:
        base: as it was loaded.
        examples: the training data.
        settings: `tune` and the project's seed matter.
        lanes: adapters that share each pass.
        known: passes of this base and these examples that were followed before; grows.
        execution: how the base reads several sequences.

    Raises:
        BadInput: the method has no place in this model.
    """
    kind = base.device.type
    largest, most = largest_pack(examples, settings, side_by_side(kind), execution)
    known = {} if known is None else known
    tune = settings.tune.model_dump(mode="json", exclude={"learning_rate", "checkpoint_minutes"})
    key = files.content_key(tune, [example.id for example in largest])
    if key not in known:
        try:
            known[key] = trace(
                base.config,
                settings.tune,
                largest,
                dtype=base.get_input_embeddings().weight.dtype,  # type: ignore[arg-type]
                quantised=bool(getattr(base, "is_loaded_in_4bit", False)),
                device_type=kind,
                trust_remote_code=type(base).__module__.startswith("transformers_modules."),
                execution=execution,
            )
        except BadInput:
            raise
        except Exception as error:
            reason = unpredictable(type(base).__name__, settings.tune.method, error)
            log.warning("%s", reason, exc_info=log.isEnabledFor(logging.DEBUG))
            return None
    return predict(
        known[key],
        packs=most,
        packs_at_once=min(side_by_side(kind), torch.get_num_threads()),
        lanes=lanes,
        runtime=runtime(base),
        device_type=kind,
    )


def unpredictable(base: str, method: str, error: Exception) -> str:
    """Why memory is not predicted, in words."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"the memory that {method} takes on {base} cannot be predicted ({first})"


def side_by_side(device_type: str) -> int:
    """Packs of which a batch's are a multiple: as `tasks.tune.train.loop.cores` has it."""
    return 2 if device_type == "cpu" else 1


def largest_pack(
    examples: Sequence[Example],
    settings: Settings,
    side_by_side: int,
    execution: Execution = PACKED,
) -> tuple[list[Example], int]:
    """The pack with the most tokens of a whole run, and the most packs that a step has."""
    tune = settings.tune
    shared = not tune.dropout
    cut = [
        execution.cut(batch, tune.micro_batch_tokens, side_by_side, shared=shared)
        for batch in batches(examples, tune, settings.project.seed)
    ]
    every = [each for step in cut for each in step]
    largest = max(every, key=lambda pack: execution.tokens(pack, shared=shared))
    return largest, max(map(len, cut))


def _follow(
    base: PreTrainedModel,
    tune: Tune,
    examples: Sequence[Example],
    nf4: bool,
    on_cpu: bool,
    execution: Execution,
) -> Pass:
    """One pack through a model on the meta device."""
    base_parameters = sum(each.numel() for each in base.parameters())
    weights, largest = _quantise(base) if nf4 else (_bytes(base), 0)
    targets = sum(example.targets for example in examples)
    with ExitStack() as stack:
        stack.enter_context(_OnMeta(targets))
        stack.enter_context(_autocast_on_meta())
        held = stack.enter_context(_Live(base))
        stack.enter_context(execution.attention(base, "cpu" if on_cpu else "cuda"))
        if tune.gradient_checkpointing:
            # What is computed again is computed inside the backward, where no mode reaches.
            base.gradient_checkpointing_enable(
                {
                    "use_reentrant": False,
                    "context_fn": lambda: (nullcontext(), _OnMeta(targets)),
                }
            )
        adapted = stack.enter_context(METHODS[tune.method].attach(base, tune, _STEPS))
        added = held.now
        adapted.network.train()
        parameters = list(adapted.parameters().values())
        trained, whole = adapted.counts()
        shared = not draws_randomly(adapted.network)
        packed = execution.lay(examples, parameters[0].device, shared=shared)
        before = held.now
        with FlopCounterMode(display=False, custom_mapping=_ATTENTION_FLOPS) as flops:
            held.peak = 0
            loss = summed_losses(adapted.network, packed, adapted.inputs(packed)).sum()
            activations, forward = held.now - before, flops.get_total_flops()
            torch.autograd.backward(loss, inputs=parameters)
            penalty = adapted.penalty()
            if penalty is not None:
                torch.autograd.grad(penalty, parameters, allow_unused=True, materialize_grads=True)
        peak, both = held.peak - before, flops.get_total_flops()
        best = sum(each.nbytes for each in adapted.export().values())
        # AdaLoRA keeps its estimates of importance from the first step on.
        before = held.now
        adapted.after_step(1)
        added += held.now - before
    on_top = peak - max(activations, _FLOAT32 * trained)
    return Pass(
        parameters=whole,
        trained=trained,
        base_parameters=base_parameters,
        weights=weights,
        added=added,
        activations=activations,
        intermediate=max(0, on_top) + largest,
        best=best,
        forward_flops=forward,
        flops=both,
        tokens=sum(len(example.input_ids) for example in examples),
        targets=len(packed.targets),
    )


class _Live(TorchDispatchMode):
    """Counts the bytes of tensors that live, those that `base` has when it begins as nothing."""

    def __init__(self, base: torch.nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        for tensor in [*base.parameters(), *base.buffers()]:
            self._count(tensor)
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # Where PyTorch takes an operation apart, helpers that hold each other keep its tensors.
        gc.collect(0)
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor):
                self._count(each)
        self.peak = max(self.peak, self.now)
        return result

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self._seen:
            self._seen.add(storage)
            self.now += storage.nbytes()
            weakref.finalize(storage, self._gone, storage.nbytes())

    def _gone(self, size: int) -> None:
        self.now -= size


class _OnMeta(TorchFunctionMode):
    """Lets the meta device stand for another.

    Where values decide about sizes, what is known beforehand stands for them: as many positions are
    chosen as there are `targets`, and one expert takes all tokens.

    Attention keeps what PyTorch's fused kernels keep (left alone, it would take the unfused path,
    which keeps a table of all scores), and what is copied to the CPU stays.
    """

    def __init__(self, targets: int = 0) -> None:
        super().__init__()
        self._targets = targets

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if args and isinstance(args[0], torch.Tensor) and args[0].is_meta:
            if func is torch.Tensor.__contains__:
                return False  # asked for warnings only
            if func is torch.Tensor.__bool__:
                return True  # mostly "all of a mask"
            if func in _GROUPED:
                return args[0] @ args[1][0]
            if func is torch.histc:  # of integers, which only some devices take
                return func(args[0].float(), *args[1:], **given)
            if func is torch.Tensor.__getitem__ and _is_mask(args[1]):
                chosen = torch.zeros(self._targets, dtype=torch.long, device=_META)
                return args[0].flatten(0, args[1].dim() - 1)[chosen]
        if func is torch.Tensor.cpu and args[0].is_meta:
            return args[0]
        if func is torch.Tensor.to and args[0].is_meta and args[1:2] == ("cpu",):
            args = (args[0], _META, *args[2:])
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **given)
        mask = given.get("attn_mask")
        if mask is not None:
            mask = mask.to(args[0].dtype).detach()  # a learned one is small beside the scores
        return _FLASH(*args, 0.0, mask is None, attn_mask=mask, scale=given.get("scale"))[0]


def _is_mask(index: Any) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype == torch.bool


@contextmanager
def _autocast_on_meta() -> Iterator[None]:
    """PyTorch has no autocast for the meta device; PEFT asks for it, to switch it off."""
    autocast = torch.autocast

    def known(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return autocast("cpu" if device_type == "meta" else device_type, *args, **kwargs)

    torch.autocast = known  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        torch.autocast = autocast  # type: ignore[misc]


def _quantise(base: PreTrainedModel) -> tuple[int, int]:
    """Let `base` look as if it were loaded in NF4, but compute as before.

    Returns:
        Bytes of its weights in NF4, and of the largest of them where it is read: each is decoded
        for its product and forgotten.
    """
    from bitsandbytes.nn import Linear4bit, Params4bit
    from transformers.quantizers.base import get_keys_to_not_convert

    class Weights(Params4bit):
        def __deepcopy__(self, memo: Any) -> "Weights":  # DoRA decodes a copy
            return self

    kept = get_keys_to_not_convert(base)
    before, saved, largest = _bytes(base), 0.0, 0
    for name, module in list(base.named_modules()):
        if type(module) is not torch.nn.Linear or any(part in name for part in kept):
            continue
        weight, bias = module.weight, module.bias
        with _META:
            packed = Linear4bit(
                module.in_features,
                module.out_features,
                bias is not None,
                weight.dtype,
                quant_type="nf4",
            )
        packed.weight = Weights(weight.data, quant_type="nf4", module=packed)
        packed.bias = bias
        packed.forward = partial(  # type: ignore[method-assign]
            _as_in_4bit, weight=weight.detach(), bias=bias
        )
        base.set_submodule(name, packed)
        size = weight.nbytes
        saved += size - weight.numel() * _NF4_BYTES
        largest = max(largest, size)
    base.is_loaded_in_4bit = True  # type: ignore[assignment]
    return before - int(saved), largest


def _as_in_4bit(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """The product of a 4-bit layer: computed in the type of its weights, given in that of rows."""
    return functional.linear(rows.to(weight.dtype), weight, bias).to(rows.dtype)


def _bytes(model: torch.nn.Module) -> int:
    storages = {
        each.untyped_storage()._cdata: each.untyped_storage().nbytes()
        for each in [*model.parameters(), *model.buffers()]
    }
    return sum(storages.values())


def _with_layers(config: PreTrainedConfig, layers: int | None) -> PreTrainedConfig:
    """A copy of `config` with its first `layers` layers."""
    copy = deepcopy(config)
    if hasattr(copy, "quantization_config"):
        del copy.quantization_config
    text = copy.get_text_config()
    if layers is not None:
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[:layers]
        text.num_hidden_layers = layers
    return copy


def _layers_are_alike(base: PreTrainedModel, count: int) -> bool:
    """Whether one layer tells what each of `count` takes."""
    for module in base.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            shapes = [[each.shape for each in layer.parameters()] for layer in module]
            return all(each == shapes[0] for each in shapes)
    return False


class Peak:
    """What was measured."""

    measured_bytes: int | None = None
    """Peak memory, once the context of `measured_peak` has ended."""


@contextmanager
def measured_peak(device: torch.device) -> Iterator[Peak]:
    """Measure the peak memory of what runs inside.

    On an accelerator it is what PyTorch allocated there; on a CPU, the memory of this process that
    was resident: on Linux by the kernel's own high-water mark, elsewhere looked at all the time.
    """
    peak = Peak()
    if device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats(device)
        yield peak
        peak.measured_bytes = torch.accelerator.max_memory_allocated(device)
        return
    try:
        # Man page proc_pid_clear_refs(5): 5 resets the high-water mark.
        Path("/proc/self/clear_refs").write_text("5")
        reset = _status("VmHWM") <= 1.1 * resident()
    except (OSError, LookupError):
        reset = False
    if reset:
        yield peak
        peak.measured_bytes = _status("VmHWM")
        return
    done = threading.Event()
    seen = [resident()]

    def watch() -> None:
        while not done.wait(0.01):
            seen.append(max(seen.pop(), resident()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
    peak.measured_bytes = max(seen.pop(), resident())


def runtime(base: PreTrainedModel | None = None) -> int:
    """Bytes that this process holds, without the weights of `base`."""
    with contextlib.suppress(OSError, AttributeError):
        # What is free in the C library's hands is taken first when training asks for memory.
        ctypes.CDLL(None).malloc_trim(0)
    if base is None:
        return resident()
    if base.device.type != "cpu":
        return 0
    return max(0, resident() - base.get_memory_footprint())


def machine(device: torch.device) -> tuple[int, int]:
    """Bytes of memory that training could take (what this process holds already counted in), and
    that there are."""
    if device.type != "cpu":
        free, whole = torch.accelerator.get_memory_info(device)
        return int(free) + torch.accelerator.memory_allocated(device), int(whole)
    seen, held = psutil.virtual_memory(), resident()
    available, total = seen.available + held, seen.total
    try:
        # A container's bound (cgroup v2).
        bound = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return available, total
    return min(available, bound - used + held), min(total, bound)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(psutil.Process().memory_info().rss)


def _status(name: str) -> int:
    """A figure of this process as Linux tells it, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise LookupError(name)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
