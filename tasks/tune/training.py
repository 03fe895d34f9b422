"""Configurations in training: what is read, what is kept, what is written.

`advance` is stateless between calls: it takes up each run where its folder says that it stands,
and leaves it there again. So a run that was killed, one that a sweep has stopped at a rung, and one
that goes on in another process are all the same.
"""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from tasks import base_model, files, records
from tasks.encoding import Example, encode_all
from tasks.errors import BadInput, PerpetuneError
from tasks.settings import Settings, Tune
from tasks.tune import checkpoint, loop, memory, ranges
from tasks.tune.batching import batches, first_by_hash, packs
from tasks.tune.distributed import ALONE, Processes
from tasks.tune.loop import Run, cores, evaluate, evaluation_steps, repeatable
from tasks.tune.methods import METHODS, Adapted, alpha, lanes
from tasks.tune.packing import Pack, pack, packed_attention
from tasks.tune.spread import Job, one_by_one

log = logging.getLogger(__name__)


class Diverged(PerpetuneError):
    """The loss left the finite numbers."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What several runs share: the base model, the encoded data, the base model's loss on it."""

    base: PreTrainedModel
    train: list[Example]
    validation: list[Pack]
    base_loss: float
    data_key: str
    processes: Processes
    passes: dict[str, memory.Pass] = field(default_factory=dict)
    """Those that memory was predicted by."""


def prepare(data: Path, settings: Settings, processes: Processes = ALONE) -> Prepared:
    """Encode the data and load the base model.

    Args:
        data: folder with `train.jsonl` and `validation.jsonl`.
        settings: `tune`, `base` and the project's seed matter.
        processes: who trains together.

    Raises:
        BadInput: a file of `data` is missing, empty or damaged, holds nothing to learn, or a
            sequence longer than the base can read.
    """
    tune = settings.tune
    paths = split_files(data)
    tokenizer = base_model.load_tokenizer(settings)
    train, validation = (encoded(path, tokenizer, tune.max_length) for path in paths)
    base = base_model.load_model(
        settings,
        quantised=METHODS[tune.method].quantised,
        on=torch.device("cpu") if processes.shard else None,
    )
    _check_positions(base, [*train, *validation])
    processes.spread(base)
    held_out = first_by_hash(validation, tune.validation_examples)
    with repeatable(settings.project.seed), packed_attention(base), cores(base, processes) as here:
        cut = packs(held_out, tune.micro_batch_tokens, here.side_by_side, shared=True)
        evaluated = [pack(part, base.device) for part in cut]
        losses = evaluate(base, evaluated, 1, here)
    base_loss = float(losses.sum() / sum(len(packed.targets) for packed in evaluated))
    log.info("%d training examples; base model's validation loss %.4f", len(train), base_loss)
    key = files.content_key(*map(files.md5, paths))
    return Prepared(base, train, evaluated, base_loss, key, processes)


def _check_positions(base: PreTrainedModel, examples: Sequence[Example]) -> None:
    positions = getattr(base.config.get_text_config(), "max_position_embeddings", None)
    longest = max(len(example.input_ids) for example in examples)
    if positions and longest > positions:
        raise BadInput(
            f"tune.max_length: there is an example of {longest} tokens, and {type(base).__name__} "
            f"has {positions} positions; set it to {positions} or less"
        )


def split_files(data: Path) -> list[Path]:
    """The files of `data` that training reads.

    Raises:
        BadInput: one of them is missing.
    """
    paths = [data / "train.jsonl", data / "validation.jsonl"]
    for path in paths:
        if not path.is_file():
            raise BadInput(f"{path}: no such file; `perpetune curate` writes it")
    return paths


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
        "validation": [
            {"id": name, "targets": count}
            for packed in prepared.validation
            for name, count in zip(packed.ids, packed.counts, strict=True)
        ],
    }
    with (
        attached(prepared, jobs, len(plan)) as runs,
        cores(runs[0].adapted.network, prepared.processes) as here,
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
        with memory.measured_peak(prepared.base.device) as peak:
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
        stack.enter_context(packed_attention(base))
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
) -> dict[str, Any]:
    """`tasks.tune.train` on data and base model that are prepared already."""
    tune = settings.tune
    _begin(prepared.base.config, out, tune)
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
    return finish(Job(out, settings))


def run_together(data: Path, out: Path, settings: Settings) -> dict[str, Any]:
    """`tasks.tune.train` by several processes."""
    split_files(data)
    trusted = settings.base.trust_remote_code
    config = AutoConfig.from_pretrained(base_model.locate(settings), trust_remote_code=trusted)
    _begin(config, out, settings.tune)
    one_by_one(data)([Job(out, settings)], None)
    return finish(Job(out, settings))


def _begin(config: PreTrainedConfig, out: Path, tune: Tune) -> None:
    (out / "metrics.json").unlink(missing_ok=True)
    for warning in ranges.warnings(tune, config.get_text_config().hidden_size):
        log.warning("%s", warning)


def finish(job: Job, state: str = "complete") -> dict[str, Any]:
    """Turn a checkpoint into results: `best/`, `curve.jsonl`, `validation.jsonl`, `metrics.json`.

    Args:
        job: it stands at its end, or where it is to end.
        state: how it ended, `complete` or `pruned`.

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
    rows = zip(progress["validation"], progress["best_losses"], strict=True)
    files.write_jsonl(out / "validation.jsonl", [row | {"loss": loss} for row, loss in rows])
    seconds, tokens = progress["seconds"], sum(row["tokens"] for row in curve)
    examples = progress["train_examples"]
    metrics = {
        "method": tune.method,
        "params": tune.model_dump(mode="json", exclude={"method", "mix", "checkpoint_minutes"})
        | {"alpha": alpha(tune), "learning_rate": progress["rate"]},
        "state": state,
        "steps": len(curve),
        "epochs": min(len(curve) * tune.batch_size, math.ceil(tune.epochs * examples)) / examples,
        "validation_loss": progress["best_loss"],
        "initial_validation_loss": progress["initial_validation_loss"],
        "train_loss": curve[-1]["train_loss"],
        "tokens_trained": tokens,
        "tokens_per_second": tokens / seconds,
        "seconds": seconds,
        "trainable_parameters": progress["trainable_parameters"],
        "trainable_share": progress["trainable_share"],
        "memory": progress["memory"],
        "adapter": str(out / "best"),
    }
    files.write_json(out / "metrics.json", metrics)
    checkpoint.remove(out)
    return metrics


def _memory(prepared: Prepared, jobs: Sequence[Job], keys: Sequence[str]) -> dict[str, Any]:
    """Peak memory as predicted; as measured so far where the run goes on from a checkpoint."""
    progress = checkpoint.read_progress(jobs[0].out)
    if progress is not None and progress["key"] == keys[0]:
        return dict(progress["memory"])
    largest = max(jobs, key=lambda job: job.settings.tune.rank)
    predicted = memory.of_run(
        prepared.base, prepared.train, largest.settings, len(jobs), known=prepared.passes
    )
    return {"predicted_bytes": predicted.total, "parts": predicted.parts}


def _key(prepared: Prepared, settings: Settings) -> str:
    """Equal keys mean equal runs: only then does one go on where another was stopped."""
    return files.content_key(
        prepared.data_key,
        base_model.identity(settings),
        settings.base.plain(),
        settings.tune.model_dump(mode="json", exclude={"checkpoint_minutes"}),
        settings.project.seed,
    )


def encoded(path: Path, tokenizer: Any, max_length: int) -> list[Example]:
    """The examples of a split that hold something to learn.

    Raises:
        BadInput: there are none, or the file is damaged.
    """
    examples = [
        example
        for record in records.load([path])
        for example in encode_all(record, tokenizer, max_length)
    ]
    learnable = [example for example in examples if example.targets]
    if len(learnable) < len(examples):
        log.warning("%s: %d records hold nothing to learn", path, len(examples) - len(learnable))
    if not learnable:
        raise BadInput(f"{path}: no record holds anything to learn; mend the data or curate again")
    return learnable
