"""What a run leaves when it ends: its weights, its curve and its figures."""

import math
from collections.abc import Mapping
from typing import Any

from tasks.core import files
from tasks.core.errors import PerpetuneError
from tasks.tune.methods.settings import LowRank
from tasks.tune.settings import Tune
from tasks.tune.train import checkpoint
from tasks.tune.train.trials import TrialRun


class Diverged(PerpetuneError):
    """The loss is no longer a finite number."""


def finish(
    trial: TrialRun, state: str = "complete", *, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Turn a checkpoint into results: `best/`, `curve.jsonl`, `validation.jsonl`, `metrics.json`.

    Args:
        trial: its checkpoint is at its end, or where it is to end.
        state: how it ended, `complete` or `pruned`.
        more: what else `metrics.json` is to hold.

    Raises:
        Diverged: its loss is no longer a finite number; its curve is kept.
    """
    out, tune = trial.out, trial.settings.tune
    progress = checkpoint.read_progress(out)
    if progress is None:
        raise PerpetuneError(f"{out}: no checkpoint to finish from")
    curve = progress["curve"]
    files.write_jsonl(out / "curve.jsonl", curve)
    if progress["failure"]:
        checkpoint.remove(out)
        raise Diverged(progress["failure"])
    checkpoint.keep_best(out)
    files.write_jsonl(out / "validation.jsonl", validation_rows(progress))
    seconds, tokens = progress["seconds"], sum(row["tokens"] for row in curve)
    examples = progress["train_examples"]
    metrics = {
        **(more or {}),
        "method": tune.method.name,
        "params": _params(tune, progress["peak_lr"]),
        "state": state,
        "steps": len(curve),
        "epochs": min(len(curve) * tune.batch_size, math.ceil(tune.epochs * examples)) / examples,
        "validation_loss": progress["best_loss"],
        "initial_validation_loss": progress["initial_validation_loss"],
        "worse_than_base": progress["best_loss"] >= progress["initial_validation_loss"],
        "train_loss": curve[-1]["train_loss"],
        "tokens_trained": tokens,
        "tokens_per_second": tokens / seconds,
        "seconds": seconds,
        "trainable_parameters": progress["trainable_parameters"],
        "trainable_share": progress["trainable_share"],
        "train_examples": examples,
        "data": progress["data"],
        "memory": progress["memory"],
        "adapter": str(out / "best"),
    }
    files.write_json(out / "metrics.json", metrics)
    checkpoint.remove(out)
    return metrics


def _params(tune: Tune, peak_lr: float) -> dict[str, Any]:
    """The settings of a run as its metrics hold them, with numbers for rules."""
    left_out = ("method", "source_weights", "checkpoint_minutes")
    params = {name: value for name, value in tune.short().items() if name not in left_out}
    if isinstance(tune.method, LowRank):
        params["alpha"] = tune.method.scaling_alpha
    return params | {"learning_rate": peak_lr}


def validation_rows(progress: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each validation example: `id`, `targets`, `loss` (summed over them, of the best
    evaluation), and `losses`, that of every evaluation."""
    by_example = zip(*progress["evaluations"], strict=True)
    return [
        row | {"loss": loss, "losses": list(losses)}
        for row, loss, losses in zip(
            progress["validation"], progress["best_losses"], by_example, strict=True
        )
    ]


def worse_than_base(result: Mapping[str, Any], what: str = "this run") -> str:
    """The warning about a result that is no better than the base it began from."""
    return (
        f"{what} ended no better than the base model: validation loss "
        f"{result['validation_loss']:.4f}, and {result['initial_validation_loss']:.4f} before any "
        "training; do not use it: lower the learning rate, train longer, or look at the data"
    )
