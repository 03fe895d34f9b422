"""Facts of model, data and machine, and what follows from them for each method."""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from tasks.core.errors import BadInput
from tasks.model import base_source, machine
from tasks.settings import Settings
from tasks.tune.data import examples as tuning_data
from tasks.tune.data.batching import batches, first_by_hash
from tasks.tune.data.examples import Data, Seen
from tasks.tune.methods import METHODS, Method
from tasks.tune.plan import arithmetic
from tasks.tune.plan.advice import Facts, advise
from tasks.tune.plan.machine import available_memory, runtime_memory
from tasks.tune.plan.measurement import Measured, count_tokens, measure
from tasks.tune.plan.profile import BaseSpec, PassProfile, profile_pass
from tasks.tune.plan.results import (
    DataFacts,
    MachineFacts,
    MemoryEstimate,
    MethodEstimate,
    ModelFacts,
    Plan,
)
from tasks.tune.settings import METHOD, Tune, configured
from tasks.tune.train import checks, trainer
from tasks.tune.train.execution import presumed

log = logging.getLogger(__name__)

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
class _Prediction:
    """The memory of one method, or why it is not known."""

    profile: PassProfile | None = None
    memory: MemoryEstimate | None = None
    problem: str = ""
    impossible: bool = False
    """The base has no place for the method."""

    def fits(self, budget: float) -> bool | None:
        """Whether it fits into so many bytes; none where that is not known."""
        if self.memory is None:
            return False if self.impossible else None
        return self.memory.total <= budget


@dataclass(frozen=True, slots=True)
class _Work:
    """What a run computes, whatever its method."""

    seen: Seen
    trained_tokens: int
    """Tokens of the batches."""
    evaluated_tokens: int
    """Tokens that its evaluations read."""


def plan(data: Path, settings: Settings) -> Plan:
    """`tasks.tune.plan`; its docstring is the contract."""
    began = time.perf_counter()
    read = tuning_data.read(data, settings, weights=False)
    base = checks.skeleton(settings)
    checks.check_positions(base, read)
    device = machine.device()
    available, total = available_memory(device)
    budget = settings.plan.memory_gb * 1e9 if settings.plan.memory_gb else available
    predictions = _predictions(base, read, settings, device)
    measured = _measured(data, read, settings, predictions.get("lora"), available)
    work = _work(read, settings)
    facts = _facts(read, settings, predictions, measured, budget)
    return Plan(
        model=ModelFacts(
            name=settings.base.model,
            architecture=base.config.model_type,
            parameters=_base_parameters(predictions),
            loss=measured.loss,
            loss_unknown=measured.unknown,
            usual_loss=facts.usual_loss,
        ),
        data=_data_facts(read, settings.tune, facts, work),
        machine=MachineFacts(
            cores=os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count(),
            accelerator=None if device.type == "cpu" else str(device),
            memory_bytes=total,
            memory_available_bytes=available,
            memory_budget_bytes=int(budget),
            dtype=str(machine.compute_dtype(settings.base)).removeprefix("torch."),
            flops_per_second=measured.flops_per_second,
            price_per_hour=settings.plan.price_per_hour,
        ),
        methods=tuple(
            _estimate(name, prediction, settings, budget, _seconds(prediction, measured, work))
            for name, prediction in predictions.items()
        ),
        advice=advise(facts),
        seconds=time.perf_counter() - began,
    )


def _predictions(
    base: PreTrainedModel, read: Data, settings: Settings, device: torch.device
) -> dict[str, _Prediction]:
    """The memory of every method, for the largest pack of the run."""
    spec = BaseSpec(
        config=base.config,
        dtype=machine.compute_dtype(settings.base),
        quantised=settings.base.quantisation == "nf4",
        device_type=device.type,
        trust_remote_code=settings.base.trust_remote_code,
    )
    execution = presumed(base.config)
    at_once = arithmetic.packs_side_by_side(device.type)
    pack, packs = arithmetic.largest_pack(read.train.groups, settings, at_once, execution)
    runtime = runtime_memory() if device.type == "cpu" else 0

    def predict(method: Method) -> _Prediction:
        tune = configured(settings.tune, {METHOD: method.name})
        try:
            method.check(base, tune)
            profile = profile_pass(spec, tune, pack, execution)
        except BadInput as error:
            return _Prediction(problem=str(error), impossible=True)
        except Exception as error:
            reason = arithmetic.unpredictable(base.config.model_type, method.name, error)
            log.warning("%s", reason, exc_info=log.isEnabledFor(logging.DEBUG))
            return _Prediction(problem=reason)
        memory = arithmetic.predict(
            profile,
            packs=packs,
            packs_at_once=min(at_once, torch.get_num_threads()),
            runtime=runtime,
            device_type=device.type,
        )
        return _Prediction(profile, memory)

    predictions: dict[str, _Prediction] = {}
    methods = METHODS.members()
    for number, (name, method) in enumerate(methods.items(), start=1):
        log.info("memory of %s (%d of %d methods)", name, number, len(methods))
        predictions[name] = predict(method)
    return predictions


def _measured(
    data: Path, read: Data, settings: Settings, lora: _Prediction | None, available: int
) -> Measured:
    """The base model's loss and the speed of training, where the base can be loaded."""
    folder = base_source.locate(settings, weights=False)
    # Loading in 4 bits reads the whole base, too, and takes minutes where memory is short.
    if not any(folder.glob("*.safetensors")):
        unknown = f"{folder} holds no weights"
    elif lora is None or lora.profile is None or lora.memory is None:
        unknown = "LoRA, which would be timed, has no place in the base, or unknown memory"
    elif lora.memory.total > available:
        unknown = "the base does not fit into memory"
    else:
        return measure(data, read, settings, lora.profile)
    log.warning("the base's loss and speed stay unknown: %s", unknown)
    return Measured(unknown=unknown)


def _work(read: Data, settings: Settings) -> _Work:
    tune, seed = settings.tune, settings.project.seed
    train, validation = read.train.groups, read.validation.groups
    evaluated = first_by_hash(validation, trainer.validation_count(validation, train, tune, seed))
    return _Work(
        seen=tuning_data.seen(train, tune, seed),
        trained_tokens=sum(map(count_tokens, batches(train, tune, seed))),
        evaluated_tokens=tune.evaluations * count_tokens(evaluated),
    )


def _facts(
    read: Data,
    settings: Settings,
    predictions: Mapping[str, _Prediction],
    measured: Measured,
    budget: float,
) -> Facts:
    return Facts(
        examples=len(read.train.groups),
        targets=sum(group.targets for group in read.train.groups),
        loss=measured.loss,
        parameters=max(1, _base_parameters(predictions)),
        adapters=settings.plan.adapters,
        trained={
            name: prediction.profile.trained
            for name, prediction in predictions.items()
            if prediction.profile
        },
        # What is not known to be too large may be advised.
        fits={
            name: prediction.fits(budget) is not False
            for name, prediction in predictions.items()
            if not prediction.impossible
        },
    )


def _data_facts(read: Data, tune: Tune, facts: Facts, work: _Work) -> DataFacts:
    groups = read.train.groups
    return DataFacts(
        examples=facts.examples,
        tokens=count_tokens(groups),
        targets=facts.targets,
        longest=max(group.longest for group in groups),
        targets_per_trained_parameter={
            name: facts.targets / count for name, count in facts.trained.items() if count
        },
        steps=work.seen.steps,
        examples_seen=work.seen.examples,
        epochs=work.seen.epochs,
        tokens_trained=work.trained_tokens,
        counts=read.to_json(),
        warnings=tuple(tuning_data.warnings(read, tune)),
    )


def _estimate(
    name: str, prediction: _Prediction, settings: Settings, budget: float, seconds: float | None
) -> MethodEstimate:
    notes = [text for text in (prediction.problem, _NOTES.get(name)) if text]
    profile, memory = prediction.profile, prediction.memory
    if profile is None or memory is None:
        return MethodEstimate(method=name, fits=prediction.fits(budget), notes=tuple(notes))
    return MethodEstimate(
        method=name,
        trainable_parameters=profile.trained,
        trainable_share=profile.trained / profile.parameters,
        memory_bytes=memory.total,
        memory_parts=memory.parts,
        memory_arithmetic=memory.arithmetic,
        fits=prediction.fits(budget),
        seconds=seconds,
        cost=seconds and seconds / 3600 * settings.plan.price_per_hour,
        notes=tuple(notes),
    )


def _seconds(prediction: _Prediction, measured: Measured, work: _Work) -> float | None:
    """Seconds of a run: its operations at the measured speed, and its optimiser's steps."""
    profile = prediction.profile
    if profile is None or not measured.flops_per_second or not measured.step_seconds:
        return None
    flops = work.trained_tokens * profile.flops + work.evaluated_tokens * profile.forward_flops
    passes = flops / profile.tokens / measured.flops_per_second
    return passes + work.seen.steps * profile.trained * measured.step_seconds


def _base_parameters(predictions: Mapping[str, _Prediction]) -> int:
    profiles = [prediction.profile for prediction in predictions.values() if prediction.profile]
    return max((profile.base_parameters for profile in profiles), default=0)
