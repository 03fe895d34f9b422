"""The end of a run: its checkpoint becomes weights, a curve and a result."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tasks.core import files
from tasks.core.errors import PerpetuneError
from tasks.tune.methods.settings import LowRank
from tasks.tune.plan.results import MemoryUse
from tasks.tune.settings import Tune
from tasks.tune.train import checkpoint
from tasks.tune.train.conditions import Conditions
from tasks.tune.train.results import TrainingResult
from tasks.tune.train.trials import TrialRun


class Diverged(PerpetuneError):
    """The loss is no longer a finite number."""


def finish(
    trial: TrialRun,
    state: Literal["complete", "pruned"] = "complete",
    *,
    examples_seen: int | None = None,
    warnings: Sequence[str] | None = None,
) -> TrainingResult:
    """Turn a checkpoint into results: `best/`, `curve.jsonl`, `validation.jsonl`, `metrics.json`.

    Args:
        trial: its checkpoint is at its end, or where it is to end.
        state: how it ended, `complete` or `pruned`.
        examples_seen: what the configured steps see of the training examples.
        warnings: to be told with the result.

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
    result = TrainingResult(
        method=tune.method.name,
        params=_params(tune, progress["peak_lr"]),
        state=state,
        steps=len(curve),
        epochs=min(len(curve) * tune.batch_size, math.ceil(tune.epochs * examples)) / examples,
        validation_loss=progress["best_loss"],
        initial_validation_loss=progress["initial_validation_loss"],
        worse_than_base=progress["best_loss"] >= progress["initial_validation_loss"],
        train_loss=curve[-1]["train_loss"],
        tokens_trained=tokens,
        tokens_per_second=tokens / seconds,
        seconds=seconds,
        trainable_parameters=progress["trainable_parameters"],
        trainable_share=progress["trainable_share"],
        train_examples=examples,
        data=progress["data"],
        memory=MemoryUse.from_json(progress["memory"], str(out)),
        adapter=out / "best",
        computed=tuple(map(Conditions.from_json, progress["computed"])),
        examples_seen=examples_seen,
        warnings=None if warnings is None else tuple(warnings),
    )
    files.write_json(out / "metrics.json", result)
    checkpoint.remove(out)
    return result


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
