"""Facts of model, data and machine, and what follows from them for each method."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tasks.core.errors import BadInput
from tasks.model import base_model
from tasks.model.encoding import Example
from tasks.settings import Settings, Tune
from tasks.tune.data import examples as tuning_data
from tasks.tune.data.batching import batches, first_by_hash
from tasks.tune.data.examples import Data
from tasks.tune.methods import METHODS
from tasks.tune.plan import memory
from tasks.tune.plan.advice import Facts, advise
from tasks.tune.plan.memory import Memory, Pass
from tasks.tune.train import checks, loop, training
from tasks.tune.train.execution import presumed

log = logging.getLogger(__name__)

_LOSS_EXAMPLES = 64
# A measured step may take so long; else a shorter one has to do, which is slower for its tokens.
_SECONDS = 20.0

_NOTES = {
    "full": "a whole model for each task; forgets most",
    "feature_extraction": "changes how answers are chosen, not what is understood",
    "qlora": "decoding 4 bits takes time that operations do not show",
    "dora": "norms of whole weight matrices take time that operations do not show",
    "adalora": "spreads its ranks over the steps: needs some hundred of them",
    "bottleneck": "cannot be merged into the base: stays slower when served",
    "prefix": "takes from the context; cannot be merged into the base",
    "prompt": "takes from the context; weak on small models",
    "ptuning": "takes from the context; cannot be merged into the base",
    "ia3": "trains so little that it wants a high learning rate",
}


@dataclass(frozen=True, slots=True)
class _Measured:
    """What was found out by running the base model."""

    loss: float | None
    flops_per_second: float | None
    step_seconds: float | None
    """Of clipping and AdamW, for one trained parameter."""
    unknown: str | None
    """Why these are none."""


def plan(data: Path, settings: Settings) -> dict[str, Any]:
    """Predict what every method would take for the run that `settings.tune` describes.

    Nothing is kept: some training steps of LoRA are timed, and the base model reads some
    validation examples. The base is not loaded where it would not fit into memory.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`, as `curate` writes them.
        settings: `base`, `tune`, `plan` and the project's seed matter.

    Returns:
        `model`, `data` and `machine` (facts), `methods` (for each: trained parameters, memory with
        its parts and arithmetic, whether it fits, seconds and cost, notes; null where it cannot be
        said), `advice` (`method`, `reasons`, `instead`), and the `seconds` that all this took.

    Raises:
        BadInput: a file of `data` is missing, empty or damaged, or holds nothing to learn.
    """
    began = time.perf_counter()
    tune, device, seed = settings.tune, base_model.device(), settings.project.seed
    folder = base_model.locate(settings, weights=False)
    read = tuning_data.read(data, settings, weights=False)
    examples, validation = read.train.examples, read.validation.examples
    base = checks.skeleton(settings)
    checks.check_positions(base, read)
    config = base.config
    process = memory.runtime() if device.type == "cpu" else 0
    available, total = memory.machine(device)
    budget = settings.plan.memory_gb * 1e9 if settings.plan.memory_gb else available
    side_by_side = memory.side_by_side(device.type)
    execution = presumed(config)
    largest, most = memory.largest_pack(examples, settings, side_by_side, execution)

    passes: dict[str, Pass] = {}
    memories: dict[str, Memory] = {}
    refused: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for number, name in enumerate(METHODS, start=1):
        log.info("memory of %s (%d of %d methods)", name, number, len(METHODS))
        try:
            own = tune.replace(method=name)
            METHODS[name].check(base, own)
            passes[name] = memory.trace(
                config,
                own,
                largest,
                dtype=base_model.compute_dtype(settings.base),
                quantised=settings.base.quantisation == "nf4",
                device_type=device.type,
                trust_remote_code=settings.base.trust_remote_code,
                execution=execution,
            )
        except BadInput as error:
            refused[name] = str(error)
            continue
        except Exception as error:
            unknown[name] = memory.unpredictable(config.model_type, name, error)
            log.warning("%s", unknown[name], exc_info=log.isEnabledFor(logging.DEBUG))
            continue
        memories[name] = memory.predict(
            passes[name],
            packs=most,
            packs_at_once=min(side_by_side, torch.get_num_threads()),
            runtime=process,
            device_type=device.type,
        )
    fits = {name: each.total <= budget for name, each in memories.items()}
    fits |= dict.fromkeys(unknown, True)  # nothing is known against it
    measured = _measure(data, read, settings, passes, memories, available, folder)

    tokens = _tokens_of_run(examples, validation, tune, seed)
    seen = tuning_data.seen(examples, tune, seed)
    steps = seen.steps
    methods = []
    for name in METHODS:
        row: dict[str, Any] = {"method": name}
        notes = [_NOTES[name]] if name in _NOTES else []
        if name in unknown:
            row |= dict.fromkeys(_COLUMNS) | {"fits": None, "notes": [unknown[name], *notes]}
        elif name in refused:
            row |= dict.fromkeys(_COLUMNS) | {"fits": False, "notes": [refused[name], *notes]}
        else:
            one, needs = passes[name], memories[name]
            seconds = None
            if measured.flops_per_second and measured.step_seconds:
                flops = sum(
                    count * each / one.tokens
                    for count, each in zip(tokens, (one.flops, one.forward_flops), strict=True)
                )
                seconds = flops / measured.flops_per_second
                seconds += steps * one.trained * measured.step_seconds
            row |= {
                "trainable_parameters": one.trained,
                "trainable_share": one.trained / one.parameters,
                "memory_bytes": needs.total,
                "memory_parts": needs.parts,
                "memory_arithmetic": list(needs.arithmetic),
                "fits": fits[name],
                "seconds": seconds,
                "cost": seconds and seconds / 3600 * settings.plan.price_per_hour,
                "notes": notes,
            }
        methods.append(row)
    parameters = max((each.base_parameters for each in passes.values()), default=0)
    facts = Facts(
        examples=len(examples),
        targets=sum(each.targets for each in examples),
        loss=measured.loss,
        parameters=max(1, parameters),
        adapters=settings.plan.adapters,
        trained={name: each.trained for name, each in passes.items()},
        fits=fits,
    )
    everything = sum(len(each.input_ids) for each in examples)
    return {
        "model": {
            "name": settings.base.model,
            "architecture": config.model_type,
            "parameters": parameters,
            "loss": measured.loss,
            "loss_unknown": measured.unknown,
            "usual_loss": facts.usual_loss,
        },
        "data": {
            "examples": facts.examples,
            "tokens": everything,
            "targets": facts.targets,
            "longest": max(len(each.input_ids) for each in examples),
            "targets_per_trained_parameter": {
                name: facts.targets / count for name, count in facts.trained.items() if count
            },
            "steps": steps,
            "examples_seen": seen.examples,
            "epochs": seen.epochs,
            "tokens_trained": tokens[0],
            "counts": read.to_json(),
            "warnings": tuning_data.warnings(read, tune),
        },
        "machine": {
            "cores": os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count(),
            "accelerator": None if device.type == "cpu" else str(device),
            "memory_bytes": total,
            "memory_available_bytes": available,
            "memory_budget_bytes": int(budget),
            "dtype": str(base_model.compute_dtype(settings.base)).removeprefix("torch."),
            "flops_per_second": measured.flops_per_second,
            "price_per_hour": settings.plan.price_per_hour,
        },
        "methods": methods,
        "advice": advise(facts),
        "seconds": time.perf_counter() - began,
    }


_COLUMNS = (
    "trainable_parameters",
    "trainable_share",
    "memory_bytes",
    "memory_parts",
    "memory_arithmetic",
    "seconds",
    "cost",
)


def _measure(
    data: Path,
    read: Data,
    settings: Settings,
    passes: dict[str, Pass],
    memories: dict[str, Memory],
    available: int,
    folder: Path,
) -> _Measured:
    """The base model's loss, and the speed of a training step."""
    # Loading in 4 bits reads the whole base, too, and takes minutes where memory is short.
    unknown = ""
    if not any(folder.glob("*.safetensors")):
        unknown = f"{folder} holds no weights"
    elif "lora" not in passes:
        unknown = "LoRA, which would be timed, has no place in the base, or unknown memory"
    elif memories["lora"].total > available:
        unknown = "the base does not fit into memory"
    if unknown:
        log.warning("the base's loss and speed stay unknown: %s", unknown)
        return _Measured(None, None, None, unknown)
    log.info("the base's loss, and some training steps, to know the speed")
    examples = read.train.examples
    tune = settings.tune.replace(method="lora", validation_examples=_LOSS_EXAMPLES)
    settings = settings.replace(tune=tune)
    prepared = training.prepare(data, settings, read=read)
    whole = batches(examples, tune, settings.project.seed)[0]
    few = sorted(whole, key=lambda each: len(each.input_ids))[-2:]
    job = training.Job(Path(), settings)
    with (
        training.attached(prepared, [job], tune.max_steps) as (run,),
        loop.cores(run.adapted.network, execution=prepared.execution) as here,
    ):

        def timed(batch: Sequence[Example]) -> tuple[float, float]:
            """Seconds of the passes of a batch, and of the step after them."""
            began = time.perf_counter()
            losses, gradients = loop.backward([run], batch, here)
            between = time.perf_counter()
            run.take_step(gradients[0], losses[0], _tokens(batch))
            if prepared.base.device.type != "cpu":
                torch.accelerator.synchronize()
            return between - began, time.perf_counter() - between

        batch = few
        timed(batch)  # builds kernels and buffers
        passes_took, step_took = timed(batch)
        if passes_took * _tokens(whole) / _tokens(few) < _SECONDS:
            batch = whole
            passes_took, step_took = timed(batch)
    lora = passes["lora"]
    flops = _tokens(batch) * lora.flops / lora.tokens
    return _Measured(prepared.base_loss, flops / passes_took, step_took / lora.trained, None)


def _tokens_of_run(
    examples: Sequence[Example], validation: Sequence[Example], tune: Tune, seed: int
) -> tuple[int, int]:
    """Tokens that a run trains on, and those that its evaluations read."""
    trained = sum(_tokens(batch) for batch in batches(examples, tune, seed))
    count = training.validation_count(validation, examples, tune, seed)
    held_out = first_by_hash(validation, count)
    return trained, tune.evaluations * _tokens(held_out)


def _tokens(examples: Sequence[Example]) -> int:
    return sum(len(each.input_ids) for each in examples)
