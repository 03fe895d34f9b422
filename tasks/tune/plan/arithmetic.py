"""What a training run needs: the arithmetic from a pass's profile to its peak memory.

Whatever the method, a trained parameter costs 4 bytes of weight, 4 of gradient in each pack under
way and in their sum, and 8 of AdamW's two moments, all in float32 (Rajbhandari et al. 2020,
https://arxiv.org/abs/1910.02054, section 3.1). A frozen one costs the bytes of its type, in NF4
4.127 bits (Dettmers et al. 2023, https://arxiv.org/abs/2305.14314).

Example. A base of 1,000,000 parameters is in bfloat16, and an adapter trains 10,000. A step has
three packs, of which a CPU computes two at once; the largest has 100 tokens, and its forward leaves
400,000 bytes for the backward, on top of which 50,000 bytes are allocated and released:

    weights       1,000,000 × 2                          2,000,000
    trained       10,000 × 4                                40,000
    gradients     10,000 × 4 × 3                           120,000  two packs, and their sum
    optimiser     10,000 × 8                                80,000
    activations   2 × (400,000 - 40,000)                   720,000  gradients take their place
    intermediate  2 × 50,000                               100,000
    allocator     0.3 × (120,000 + 720,000 + 100,000)      282,000
    best          10,000 × 4                                40,000  the best weights so far
    runtime       measured, say                        200,000,000  Python, PyTorch, the data
"""

import logging
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from tasks.core import files
from tasks.core.errors import BadInput, first_line
from tasks.settings import Settings
from tasks.tune.data.batching import batches
from tasks.tune.data.groups import Group
from tasks.tune.plan.machine import runtime_memory
from tasks.tune.plan.profile import FLOAT32_BYTES, BaseSpec, PassProfile, profile_pass
from tasks.tune.plan.results import MemoryEstimate
from tasks.tune.train.execution import PACKED, Execution

log = logging.getLogger(__name__)

# What a CPU's allocator takes beyond what passes use. glibc's cannot put an aligned block into a
# gap of just its size, gives each thread heaps of its own, and packs differ from step to step;
# measured, not derived: benchmarks/tuning/memory.md.
FRAGMENTATION = 0.3


def predict(
    profile: PassProfile,
    *,
    packs: int = 1,
    packs_at_once: int = 1,
    lanes: int = 1,
    runtime: int = 0,
    device_type: str = "cpu",
) -> MemoryEstimate:
    """Peak memory of training.

    Args:
        profile: of the largest pack.
        packs: packs of a step, at most.
        packs_at_once: packs that are computed at the same time.
        lanes: adapters that share each pass.
        runtime: bytes of the process without the model (`runtime_memory`).
        device_type: where training runs; the best weights so far are kept on the CPU.
    """
    on_cpu = device_type == "cpu"
    at_once = min(packs, packs_at_once)
    trained = lanes * profile.trained
    gradients = FLOAT32_BYTES * trained
    gradient_sets = at_once + (packs > at_once)  # of packs under way, and their sum
    activations = lanes * profile.activations
    sizes = {
        "weights": profile.weights,
        "trained": lanes * profile.added,
        "gradients": gradient_sets * gradients,
        "optimiser": 2 * FLOAT32_BYTES * trained,
        # While a pack's gradients are computed, its activations are released.
        "activations": at_once * max(0, activations - gradients),
        "intermediate": at_once * lanes * profile.intermediate,
    }
    in_use = sizes["gradients"] + sizes["activations"] + sizes["intermediate"]
    sizes |= {
        "allocator": int(FRAGMENTATION * in_use) if on_cpu else 0,
        "best": lanes * profile.best if on_cpu else 0,
        "runtime": runtime,
    }
    terms = {
        "weights": f"{profile.base_parameters:,} parameters of the base × "
        f"{profile.weights / profile.base_parameters:.2f} B",
        "trained": f"{trained:,} × {FLOAT32_BYTES} B, float32, with what else the method keeps",
        "gradients": f"{trained:,} × {FLOAT32_BYTES} B × {gradient_sets} (packs under way, their "
        "sum)",
        "optimiser": f"{trained:,} × {2 * FLOAT32_BYTES} B, AdamW's two moments",
        "activations": f"{profile.tokens:,} tokens × {activations // profile.tokens:,} B a token × "
        f"{at_once} packs at once, of {packs}, less the gradients that take their place",
        "intermediate": f"logits of {profile.targets:,} targets and the like, released after use",
        "allocator": f"fragmentation, measured, {FRAGMENTATION:.0%} of {_mb(in_use)} on a CPU",
        "best": "a copy of what is trained, as of the best evaluation",
        "runtime": "the process without the model, measured",
    }
    lines = tuple(f"{name}: {terms[name]} = {_mb(size)}" for name, size in sizes.items())
    return MemoryEstimate(**sizes, arithmetic=lines)


def predict_run(
    base: PreTrainedModel,
    groups: Sequence[Group],
    settings: Settings,
    lanes: int = 1,
    *,
    profiles: dict[str, PassProfile] | None = None,
    execution: Execution = PACKED,
) -> MemoryEstimate | None:
    """Peak memory of the run that `settings.tune` describes, in this process.

    None, with a warning, where it cannot be predicted: training goes on without.

    Args:
        base: as it was loaded.
        groups: the training data.
        settings: `tune` and the project's seed matter.
        lanes: adapters that share each pass.
        profiles: earlier profiles of this base and these data; grows.
        execution: how the base reads several sequences.

    Raises:
        BadInput: the method has no place in this model.
    """
    device_type = base.device.type
    at_once = packs_side_by_side(device_type)
    pack, packs = largest_pack(groups, settings, at_once, execution)
    profiles = {} if profiles is None else profiles
    tune = settings.tune.model_dump(mode="json", exclude={"learning_rate", "checkpoint_minutes"})
    key = files.content_key(tune, [group.id for group in pack])
    if key not in profiles:
        try:
            profiles[key] = profile_pass(BaseSpec.of_loaded(base), settings.tune, pack, execution)
        except BadInput:
            raise
        except Exception as error:
            reason = unpredictable(type(base).__name__, settings.tune.method.name, error)
            log.warning("%s", reason, exc_info=log.isEnabledFor(logging.DEBUG))
            return None
    return predict(
        profiles[key],
        packs=packs,
        packs_at_once=min(at_once, torch.get_num_threads()),
        lanes=lanes,
        runtime=runtime_memory(base),
        device_type=device_type,
    )


def unpredictable(base: str, method: str, error: Exception) -> str:
    """Why memory is not predicted, in words."""
    first = first_line(error)
    return f"the memory that {method} takes on {base} cannot be predicted ({first})"


def packs_side_by_side(device_type: str) -> int:
    """Packs of which a batch's are a multiple: as `tasks.tune.train.pack_executor` has it."""
    return 2 if device_type == "cpu" else 1


def largest_pack(
    groups: Sequence[Group],
    settings: Settings,
    side_by_side: int,
    execution: Execution = PACKED,
) -> tuple[list[Group], int]:
    """The pack with the most tokens of a whole run, and the most packs that a step has."""
    tune = settings.tune
    shared = not tune.adapter_dropout
    steps = [
        execution.cut(batch, tune.micro_batch_tokens, side_by_side, shared=shared)
        for batch in batches(groups, tune, settings.project.seed)
    ]
    packs = [pack for step in steps for pack in step]
    largest = max(packs, key=lambda pack: execution.tokens(pack, shared=shared))
    return largest, max(map(len, steps))


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
