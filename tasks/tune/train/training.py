"""Configurations in training: what is read, what is kept, what is written.

`advance` is stateless between calls: it takes up each run where its folder says that it stands,
and leaves it there again. So a run that was killed, one that a sweep has stopped at a rung, and one
that goes on in another process are all the same.
"""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from tasks.core import files
from tasks.core.errors import PerpetuneError
from tasks.model import base_model
from tasks.model.encoding import Example
from tasks.settings import Settings, Tune
from tasks.tune.data import examples as tuning_data
from tasks.tune.data.batching import batches, first_by_hash
from tasks.tune.data.examples import Data
from tasks.tune.data.packing import Packed
from tasks.tune.methods import METHODS, Adapted, alpha, lanes
from tasks.tune.methods import recommended_ranges as ranges
from tasks.tune.plan.arithmetic import predict_run
from tasks.tune.plan.machine import measured_peak
from tasks.tune.plan.profile import PassProfile
from tasks.tune.train import checkpoint, checks, execution, loop
from tasks.tune.train.distributed import ALONE, Processes
from tasks.tune.train.execution import Execution
from tasks.tune.train.executors import Job, one_by_one
from tasks.tune.train.loop import Run, cores, evaluate, evaluation_steps, repeatable

log = logging.getLogger(__name__)

_FORMAT = 2  # of checkpoints; a change of what they hold makes it 3
_FEWEST_VALIDATION = 40


class Diverged(PerpetuneError):
    """The loss left the finite numbers."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What several runs share: the base model, the encoded data, the base model's loss on it."""

    base: PreTrainedModel
    execution: Execution
    """How the base reads several sequences at once."""
    train: list[Example]
    validation: list[Packed]
    base_loss: float
    data: Data
    processes: Processes
    profiles: dict[str, PassProfile] = field(default_factory=dict)
    """Those from which memory was predicted."""


def prepare(
    data: Path, settings: Settings, processes: Processes = ALONE, read: Data | None = None
) -> Prepared:
    """Encode the data and load the base model.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`.
        settings: `tune`, `base` and the project's seed matter.
        processes: who trains together.
        read: the content of `data`, where it has been read already.

    Raises:
        BadInput: a file of `data` is missing, empty or damaged, holds nothing to learn, or a
            sequence longer than the base can read; or the base is none that can be trained.
        Diverged: the base gives no finite loss.
    """
    tune = settings.tune
    read = tuning_data.read(data, settings) if read is None else read
    base = base_model.load_model(
        settings,
        quantised=METHODS[tune.method].quantised,
        on=torch.device("cpu") if processes.shard else None,
    )
    checks.check_positions(base, read)
    for split in (read.train, read.validation):
        for example in split.examples:
            base_model.check_ids(example.input_ids, base.config, f"{split.path}: {example.id}")
    form = execution.of(base, read.longest, settings)
    processes.spread(base)
    train, seed = read.train.examples, settings.project.seed
    held_out = first_by_hash(
        read.validation.examples, validation_count(read.validation.examples, train, tune, seed)
    )
    with repeatable(seed), form.attention(base), cores(base, processes, form) as here:
        cut = form.cut(held_out, tune.micro_batch_tokens, here.side_by_side, shared=True)
        evaluated = [form.lay(part, base.device) for part in cut]
        losses = evaluate(base, evaluated, 1, here)[0]
    _check_finite(losses, read.validation.path, base)
    base_loss = float(losses.sum() / sum(len(packed.targets) for packed in evaluated))
    log.info("%d training examples; base model's validation loss %.4f", len(train), base_loss)
    return Prepared(base, form, train, evaluated, base_loss, read, processes)


def validation_count(
    validation: Sequence[Example], train: Sequence[Example], tune: Tune, seed: int
) -> int:
    """How many validation examples each evaluation reads.

    `auto`: at least 40, and as many more as keep all evaluations below a tenth of the run's cost.
    A backward pass costs twice a forward, so that a token that is trained on costs three.
    """
    if tune.validation_examples != "auto":
        return tune.validation_examples
    trained = 3 * sum(map(_length, chain.from_iterable(batches(train, tune, seed))))
    each = tune.evaluations * sum(map(_length, validation)) / len(validation)
    return max(_FEWEST_VALIDATION, int(0.1 * trained / each))


def _length(example: Example) -> int:
    return len(example.input_ids)


def _check_finite(losses: torch.Tensor, path: Path, base: PreTrainedModel) -> None:
    broken = int((~losses.isfinite()).sum())
    if not broken:
        return
    kind = str(base.dtype).removeprefix("torch.")
    remedy = (
        "numbers overflow in float16: set base.dtype to bfloat16 or float32"
        if base.dtype == torch.float16
        else "its weights may be damaged, or hold numbers that are not finite: try another copy"
    )
    raise Diverged(
        f"base.model: the base gives no finite loss in {kind} on {broken} of {len(losses)} "
        f"examples of {path}, before any training; {remedy}"
    )


def advance(
    prepared: Prepared,
    jobs: Sequence[Job],
    evaluations: int | None = None,
    *,
    on_step: Callable[[Job, Run], None] = lambda *_: None,
) -> None:
    """Take runs on from where their folders say that they stand.

    Several jobs share each pass through the base: their method allows it, and their settings differ
    in rank, alpha, learning rate and target modules only.

    Args:
        prepared: of the same data, base and seed.
        jobs: at least one.
        evaluations: stop after so many evaluations; at the end where not given.
        on_step: called after each step of a job with its run.
    """
    first = jobs[0].settings
    plan = batches(prepared.train, first.tune, first.project.seed)
    keys = [_key(prepared, job.settings) for job in jobs]
    taken = _memory(prepared, jobs, keys)
    facts = {
        "memory": taken,
        "initial_validation_loss": prepared.base_loss,
        "train_examples": len(prepared.train),
        "data": prepared.data.to_json(),
        "validation": [
            {"id": name, "targets": count}
            for packed in prepared.validation
            for name, count in zip(packed.ids, packed.counts, strict=True)
        ],
    }
    with (
        attached(prepared, jobs, len(plan)) as runs,
        cores(runs[0].adapted.network, prepared.processes, prepared.execution) as here,
    ):
        for run, key, job in zip(runs, keys, jobs, strict=True):
            checkpoint.load(run, key, job.out)
        saved = time.monotonic()

        def save() -> None:
            if not prepared.processes.first:
                return
            for run, key, job in zip(runs, keys, jobs, strict=True):
                checkpoint.save(run, key, job.out, job.settings, facts)

        def stepped(run: Run) -> None:
            nonlocal saved
            on_step(jobs[runs.index(run)], run)
            if time.monotonic() - saved > 60 * first.tune.checkpoint_minutes:
                save()
                saved = time.monotonic()

        due = sorted(evaluation_steps(len(plan), first.tune.evaluations))
        end = due[-1 if evaluations is None else min(evaluations, len(due)) - 1]
        with measured_peak(prepared.base.device) as peak:
            while alive := [run for run in runs if not run.ended and run.step < end]:
                # A process may have died between two lanes' checkpoints: who is behind catches up.
                steps = sorted({run.step for run in alive})
                behind = [run for run in alive if run.step == steps[0]]
                target = steps[1] if len(steps) > 1 else end
                loop.advance(behind, plan, prepared.validation, target, cores=here, on_step=stepped)
        before = taken.get("measured_bytes", 0)
        taken["measured_bytes"] = max(before, peak.measured_bytes or 0)
        save()


@contextmanager
def attached(prepared: Prepared, jobs: Sequence[Job], steps: int) -> Iterator[list[Run]]:
    """Fresh runs of these jobs on the base, which is what it was afterwards."""
    base, tunes = prepared.base, [job.settings.tune for job in jobs]
    tune = tunes[0]
    method, scaled = METHODS[tune.method], base.dtype == torch.float16
    with ExitStack() as stack:
        stack.enter_context(repeatable(jobs[0].settings.project.seed))
        stack.enter_context(prepared.execution.attention(base))
        if tune.gradient_checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
            stack.callback(base.gradient_checkpointing_disable)
        adapted: list[Adapted]
        if method.shares:
            adapted = [*stack.enter_context(lanes(base, tunes))]
        else:
            adapted = [stack.enter_context(method.attach(base, tune, steps))]
        width = base.config.get_text_config().hidden_size
        yield [
            Run(each, tune, ranges.learning_rate(tune, width), steps, scaled=scaled)
            for each, tune in zip(adapted, tunes, strict=True)
        ]


def run(
    prepared: Prepared,
    out: Path,
    settings: Settings,
    *,
    on_step: Callable[[Run], None] = lambda _: None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`tasks.tune.train` on data and base model that are prepared already.

    Args:
        prepared: of the same data and base.
        out: the run's folder.
        settings: the configuration.
        on_step: called after each step.
        more: what else `metrics.json` is to hold.
    """
    tune = settings.tune
    (out / "metrics.json").unlink(missing_ok=True)
    steps = len(batches(prepared.train, tune, settings.project.seed))
    with tqdm(total=steps, desc=f"{tune.method}", disable=None, file=sys.stderr) as bar:

        def stepped(_: Job, run: Run) -> None:
            bar.update(run.step - bar.n)
            row = run.curve[-1]
            if "validation_loss" in row:
                log.info(
                    "step %d of %d: training loss %.4f, validation loss %.4f",
                    run.step,
                    steps,
                    row["train_loss"],
                    row["validation_loss"],
                )
                bar.set_postfix(validation=f"{row['validation_loss']:.3f}", refresh=False)
            on_step(run)

        advance(prepared, [Job(out, settings)], on_step=stepped)
    return finish(Job(out, settings), more=more)


def train(data: Path, out: Path, settings: Settings) -> dict[str, Any]:
    """`tasks.tune.train`; its docstring is the contract."""
    tune = settings.tune
    read = tuning_data.read(data, settings)
    warnings = checks.check(read, settings)
    seen = tuning_data.seen(read.train.examples, tune, settings.project.seed)
    log.info("%s", seen)
    for warning in warnings:
        log.warning("%s", warning)
    more = {"examples_seen": seen.examples, "warnings": warnings}
    if tune.processes > 1:
        (out / "metrics.json").unlink(missing_ok=True)
        one_by_one(data)([Job(out, settings)], None)
        metrics = finish(Job(out, settings), more=more)
    else:
        metrics = run(prepare(data, settings, read=read), out, settings, more=more)
    if metrics["worse_than_base"]:
        log.warning("%s", worse_than_base(metrics))
    return metrics


def worse_than_base(result: Mapping[str, Any], what: str = "this run") -> str:
    """What to say of a result that is no better than the base it began from."""
    return (
        f"{what} ended no better than the base model: validation loss "
        f"{result['validation_loss']:.4f}, and {result['initial_validation_loss']:.4f} before any "
        "training; do not use it: lower the learning rate, train longer, or look at the data"
    )


def finish(
    job: Job, state: str = "complete", *, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Turn a checkpoint into results: `best/`, `curve.jsonl`, `validation.jsonl`, `metrics.json`.

    Args:
        job: it stands at its end, or where it is to end.
        state: how it ended, `complete` or `pruned`.
        more: what else `metrics.json` is to hold.

    Raises:
        Diverged: its loss left the finite numbers; its curve is kept.
    """
    out, tune = job.out, job.settings.tune
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
        "method": tune.method,
        "params": tune.model_dump(mode="json", exclude={"method", "mix", "checkpoint_minutes"})
        | {"alpha": alpha(tune), "learning_rate": progress["rate"]},
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


def validation_rows(progress: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each validation example: `id`, `targets`, `loss` (summed over them, of the best
    evaluation), and `losses`, that of every evaluation."""
    each = zip(*progress["evaluations"], strict=True)
    return [
        row | {"loss": loss, "losses": list(losses)}
        for row, loss, losses in zip(
            progress["validation"], progress["best_losses"], each, strict=True
        )
    ]


def _memory(prepared: Prepared, jobs: Sequence[Job], keys: Sequence[str]) -> dict[str, Any]:
    """Peak memory as predicted; as measured so far where the run goes on from a checkpoint."""
    progress = checkpoint.read_progress(jobs[0].out)
    if progress is not None and progress["key"] == keys[0]:
        return dict(progress["memory"])
    largest = max(jobs, key=lambda job: job.settings.tune.rank)
    predicted = predict_run(
        prepared.base,
        prepared.train,
        largest.settings,
        len(jobs),
        profiles=prepared.profiles,
        execution=prepared.execution,
    )
    if predicted is None:
        return {"predicted_bytes": None, "parts": {}}
    return {"predicted_bytes": predicted.total, "parts": predicted.parts}


def _key(prepared: Prepared, settings: Settings) -> str:
    """Equal keys mean equal runs: only then does one go on where another was stopped."""
    return files.content_key(
        _FORMAT,
        prepared.data.key,
        base_model.identity(settings),
        settings.base.plain(),
        settings.tune.model_dump(mode="json", exclude={"checkpoint_minutes"}),
        settings.project.seed,
    )
