"""One configuration, trained: what is read, what is kept, what is written."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import PreTrainedModel

from tasks import base_model, files, records
from tasks.encoding import Example, encode
from tasks.errors import BadInput
from tasks.settings import Settings
from tasks.tune.batching import batches, first_by_hash, packs
from tasks.tune.loop import optimise, repeatable, validation_loss
from tasks.tune.methods import adapted, alpha
from tasks.tune.packing import Pack, pack, packed_attention

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What several runs share: the base model, the encoded data, the base model's loss on it."""

    base: PreTrainedModel
    train: list[Example]
    validation: list[Pack]
    base_loss: float


def prepare(data: Path, settings: Settings) -> Prepared:
    """Encode the data and load the base model.

    Raises:
        BadInput: a file of `data` is missing, empty or damaged, or holds nothing to learn.
    """
    tune = settings.tune
    paths = [data / "train.jsonl", data / "validation.jsonl"]
    for path in paths:
        if not path.is_file():
            raise BadInput(f"{path}: no such file; `perpetune curate` writes it")
    tokenizer = base_model.load_tokenizer(settings)
    train, validation = (_encoded(path, tokenizer, tune.max_length) for path in paths)
    base = base_model.load_model(settings)
    held_out = first_by_hash(validation, tune.validation_examples)
    evaluated = [pack(part, base.device) for part in packs(held_out, tune.micro_batch_tokens)]
    with repeatable(settings.project.seed), packed_attention(base):
        base_loss = validation_loss(base, evaluated)
    log.info("%d training examples; base model's validation loss %.4f", len(train), base_loss)
    return Prepared(base, train, evaluated, base_loss)


def run(
    prepared: Prepared,
    out: Path,
    settings: Settings,
    *,
    report: Callable[[int, float], bool] | None = None,
) -> dict[str, Any]:
    """`tasks.tune.train` on data and base model that are prepared already."""
    tune, seed, base = settings.tune, settings.project.seed, prepared.base
    (out / "metrics.json").unlink(missing_ok=True)
    began = time.perf_counter()
    plan = batches(prepared.train, tune, seed)
    curve: list[dict[str, Any]] = []
    best_loss, best = math.inf, dict[str, torch.Tensor]()
    without_gain, state = 0, "complete"
    try:
        with repeatable(seed), packed_attention(base), adapted(base, tune) as model:
            trainable, whole = model.get_nb_trainable_parameters()
            for row in optimise(model, plan, prepared.validation, tune):
                curve.append(row)
                if "validation_loss" not in row:
                    continue
                loss = row["validation_loss"]
                without_gain += 1
                if loss < best_loss:
                    best_loss, best, without_gain = loss, _weights(model), 0
                stop = report is not None and report(row["step"], loss)
                if len(curve) == len(plan):
                    break  # there is nothing left to stop
                if stop:
                    state = "pruned"
                    break
                if without_gain == tune.patience:
                    log.info("no gain in %d evaluations: stopping early", without_gain)
                    break
            _write_adapter(out / "best", best, model, settings)
    finally:
        files.write_jsonl(out / "curve.jsonl", curve)
    seconds = time.perf_counter() - began
    tokens = sum(row["tokens"] for row in curve)
    metrics = {
        "method": tune.method,
        "params": tune.model_dump(mode="json", exclude={"method", "mix"}) | {"alpha": alpha(tune)},
        "state": state,
        "steps": len(curve),
        "epochs": sum(len(batch) for batch in plan[: len(curve)]) / len(prepared.train),
        "validation_loss": best_loss,
        "initial_validation_loss": prepared.base_loss,
        "train_loss": curve[-1]["train_loss"],
        "tokens_trained": tokens,
        "tokens_per_second": tokens / seconds,
        "seconds": seconds,
        "trainable_parameters": trainable,
        "trainable_share": trainable / whole,
        "adapter": str(out / "best"),
    }
    files.write_json(out / "metrics.json", metrics)
    return metrics


def _encoded(path: Path, tokenizer: Any, max_length: int) -> list[Example]:
    examples = [encode(record, tokenizer, max_length) for record in records.load([path])]
    learnable = [example for example in examples if example.targets]
    if len(learnable) < len(examples):
        log.warning("%s: %d records hold nothing to learn", path, len(examples) - len(learnable))
    if not learnable:
        raise BadInput(f"{path}: no record holds anything to learn; mend the data or curate again")
    return learnable


def _weights(model: PeftModel) -> dict[str, torch.Tensor]:
    # Asked for "auto", PEFT looks the base model up on the hub.
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def _write_adapter(
    folder: Path, weights: dict[str, torch.Tensor], model: PeftModel, settings: Settings
) -> None:
    """A plain PEFT adapter folder, equal byte for byte for equal weights.

    The base stands in it as `params.yaml` names it, not as a path of this machine.
    """
    config = model.peft_config["default"].to_dict() | {
        "base_model_name_or_path": settings.base.model,
        "revision": settings.base.revision,
        "inference_mode": True,
    }
    # PEFT keeps the target modules as a set, whose order changes from process to process.
    plain = {key: sorted(item) if isinstance(item, set) else item for key, item in config.items()}
    with files.atomic_folder(folder) as building:
        save_file(weights, building / "adapter_model.safetensors", metadata={"format": "pt"})
        files.write_json(building / "adapter_config.json", plain)
