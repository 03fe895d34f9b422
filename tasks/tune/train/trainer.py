"""The trainer, from encoded data to trained weights; it reads from top to bottom.

    prepare       the base model, how it reads packs, its loss on the validation data
    train_runs    takes runs of one base from where their folders say that they are
    attach        adapters on the base, and a fresh `Run` for each
    train_steps   batch after batch: backward, optimiser step, evaluation where one is due
    backward      loss and gradients of a batch, pack by pack
    evaluate      losses of the validation data

Nothing is kept between two calls of `train_runs` but files: a run that was killed, one that a sweep
stopped at a rung, and one that goes on in another process are all the same. Runs whose adapters
share one base go through it together, each in a lane of the same packs; each keeps its own loss,
gradients, clipping, optimiser and schedule, so that it trains as it would alone.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from tasks.core import files
from tasks.model import base_model, base_source
from tasks.model.encoding import Example
from tasks.settings import Settings
from tasks.tune.data import examples as tuning_data
from tasks.tune.data.batching import batches, first_by_hash
from tasks.tune.data.examples import Data
from tasks.tune.data.packing import Packed, sequence_losses, summed_losses
from tasks.tune.methods import METHODS
from tasks.tune.methods import recommended_ranges as ranges
from tasks.tune.methods.contract import AdaptedModel
from tasks.tune.methods.lora import lanes
from tasks.tune.plan.arithmetic import predict_run
from tasks.tune.plan.machine import measured_peak
from tasks.tune.plan.profile import PassProfile
from tasks.tune.settings import Tune
from tasks.tune.train import checkpoint, checks, execution
from tasks.tune.train.distributed import SINGLE, Processes
from tasks.tune.train.execution import Execution
from tasks.tune.train.pack_executor import PackExecutor, pack_executor
from tasks.tune.train.results import Diverged
from tasks.tune.train.run import Run, evaluation_steps
from tasks.tune.train.trials import TrialRun

log = logging.getLogger(__name__)

# cuBLAS reads this when it is first used, which is before a run is `deterministic`: when the base
# is looked at. Without it, deterministic mode refuses to work.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

_FORMAT = 3  # of checkpoints; a change of what they hold makes it 4
_MIN_VALIDATION = 40


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
    identity: str
    """Of the base, as it was loaded: its weights are hashed once, not for each run."""
    profiles: dict[str, PassProfile] = field(default_factory=dict)
    """Those from which memory was predicted."""


def prepare(
    data: Path, settings: Settings, processes: Processes = SINGLE, read: Data | None = None
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
        quantised=METHODS.get(tune.method.name).quantised,
        on=torch.device("cpu") if processes.shard else None,
    )
    checks.check_positions(base, read)
    for split in (read.train, read.validation):
        for example in split.examples:
            base_model.check_ids(example.input_ids, base.config, f"{split.path}: {example.id}")
    form = execution.of(base, read.longest, settings)
    processes.shard_weights(base)
    train, seed = read.train.examples, settings.project.seed
    held_out = first_by_hash(
        read.validation.examples, validation_count(read.validation.examples, train, tune, seed)
    )
    with deterministic(seed), form.attention(base), pack_executor(base, processes, form) as packs:
        cut = form.cut(held_out, tune.micro_batch_tokens, packs.side_by_side, shared=True)
        validation = [form.lay(part, base.device) for part in cut]
        losses = evaluate(base, validation, 1, packs)[0]
    _check_finite(losses, read.validation.path, base)
    base_loss = float(losses.sum() / sum(len(packed.targets) for packed in validation))
    log.info("%d training examples; base model's validation loss %.4f", len(train), base_loss)
    identity = base_source.identity(settings)
    return Prepared(base, form, train, validation, base_loss, read, processes, identity)


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
    cost = tune.evaluations * sum(map(_length, validation)) / len(validation)
    return max(_MIN_VALIDATION, int(0.1 * trained / cost))


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


def train_runs(
    prepared: Prepared,
    trials: Sequence[TrialRun],
    evaluations: int | None = None,
    *,
    on_step: Callable[[TrialRun, Run], None] = lambda *_: None,
) -> None:
    """Train runs from where their folders say that they are, and leave a checkpoint there.

    Several of them share each pass through the base: their method allows it, and their settings
    differ in rank, alpha, learning rate and target modules only.

    Args:
        prepared: of the same data, base and seed.
        trials: at least one.
        evaluations: stop after so many evaluations; None: train to the end.
        on_step: called after each step of a trial with its run.
    """
    first = trials[0].settings
    plan = batches(prepared.train, first.tune, first.project.seed)
    keys = [_key(prepared, trial.settings) for trial in trials]
    needed = _memory(prepared, trials, keys)
    facts = _facts(prepared) | {"memory": needed}
    for trial in trials:
        (trial.out / "metrics.json").unlink(missing_ok=True)  # written last, of a whole run
    with (
        attach(prepared, trials, len(plan)) as runs,
        pack_executor(runs[0].adapted.network, prepared.processes, prepared.execution) as packs,
    ):
        for run, key, trial in zip(runs, keys, trials, strict=True):
            checkpoint.load(run, key, trial.out)
        saved = time.monotonic()

        def save() -> None:
            if not prepared.processes.is_main:
                return
            for run, key, trial in zip(runs, keys, trials, strict=True):
                checkpoint.save(run, key, trial.out, trial.settings, facts)

        def stepped(run: Run) -> None:
            nonlocal saved
            on_step(trials[runs.index(run)], run)
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
                until = steps[1] if len(steps) > 1 else end
                train_steps(behind, plan, prepared.validation, until, packs=packs, on_step=stepped)
        before = needed.get("measured_bytes", 0)
        needed["measured_bytes"] = max(before, peak.measured_bytes or 0)
        save()


@contextmanager
def attach(prepared: Prepared, trials: Sequence[TrialRun], steps: int) -> Iterator[list[Run]]:
    """Fresh runs of these trials on the base, which is what it was afterwards."""
    base, tunes = prepared.base, [trial.settings.tune for trial in trials]
    tune = tunes[0]
    method = METHODS.get(tune.method.name)
    with ExitStack() as stack:
        stack.enter_context(deterministic(trials[0].settings.project.seed))
        stack.enter_context(prepared.execution.attention(base))
        if tune.gradient_checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
            stack.callback(base.gradient_checkpointing_disable)
        adapted: list[AdaptedModel]
        if method.shares:
            adapted = [*stack.enter_context(lanes(base, tunes))]
        else:
            adapted = [stack.enter_context(method.attach(base, tune, steps))]
        width = base.config.get_text_config().hidden_size
        half = base.dtype == torch.float16
        yield [
            Run(model, own, ranges.learning_rate(own, width), steps, scale_loss=half)
            for model, own in zip(adapted, tunes, strict=True)
        ]


def train_steps(
    runs: Sequence[Run],
    batches: Sequence[Sequence[Example]],
    validation: Sequence[Packed],
    until: int,
    *,
    packs: PackExecutor,
    on_step: Callable[[Run], None] = lambda _: None,
) -> None:
    """Take runs from their common step to the step `until`, or to their end.

    A batch is cut into packs of `micro_batch_tokens`; its loss is the mean over all its targets, so
    that the cut does not change the step.

    Args:
        runs: of one base, with equal settings of batches, clipping and evaluations.
        batches: those of a whole run.
        validation: what is evaluated.
        until: step to stop after.
        packs: computes the packs.
        on_step: called after each step of each run.
    """
    due = evaluation_steps(len(batches), runs[0].tune.evaluations)
    alive = [run for run in runs if not run.ended]
    while alive and alive[0].step < until:
        began = time.perf_counter()
        batch = batches[alive[0].step]
        losses, gradients = backward(alive, batch, packs)
        tokens = sum(len(example.input_ids) for example in batch)
        for run, loss, run_gradients in zip(alive, losses, gradients, strict=True):
            run.take_step(run_gradients, loss, tokens)
        alive = [run for run in alive if not run.failure]
        if alive and alive[0].step in due:
            first = alive[0].adapted
            first.set_active([run.adapted for run in alive])
            measured = evaluate(first.network, validation, len(alive), packs, first.inputs)
            for run, run_losses in zip(alive, measured, strict=True):
                run.record_evaluation(run_losses, sum(len(packed.targets) for packed in validation))
        for run in alive:
            run.seconds += (time.perf_counter() - began) / len(alive)
            run.curve[-1]["seconds"] = run.seconds
        for run in alive:
            on_step(run)
        alive = [run for run in alive if not run.ended]


def backward(
    runs: Sequence[Run], batch: Sequence[Example], packs: PackExecutor
) -> tuple[list[float], list[list[torch.Tensor]]]:
    """Mean loss of the batch, and gradients of the scaled loss by each parameter, for each run."""
    first = runs[0].adapted
    first.set_active([run.adapted for run in runs])
    if not first.network.training:  # setting it walks over all modules
        first.network.train()
    parameters = [parameter for run in runs for parameter in run.parameters]
    device = parameters[0].device
    targets = sum(example.targets for example in batch)

    def gradients_of(
        assigned: tuple[Sequence[Example], bool],
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        examples, counts = assigned
        packed = packs.execution.lay(examples, device, shared=not packs.random)
        packed = packed.in_lanes(len(runs))
        losses = summed_losses(first.network, packed, first.inputs(packed)) * counts / targets
        return losses.detach(), _gradients(_scaled(runs, losses), parameters)

    tokens = runs[0].tune.micro_batch_tokens
    cut = packs.execution.cut(batch, tokens, packs.side_by_side, shared=not packs.random)
    processes = packs.processes
    if packs.random:
        processes.seed_rank(runs[0].step, [example.id for example in batch])
    total = torch.zeros(len(runs), device=device)
    summed: list[torch.Tensor] = []
    for losses, gradients in packs.map(gradients_of, processes.assign(cut)):
        total += losses
        if summed:
            torch._foreach_add_(summed, gradients)
        else:
            summed = list(gradients)
    total, *summed = processes.all_reduce([total, *summed])
    for i, run in enumerate(runs):
        penalty = run.adapted.penalty()
        if penalty is not None:
            total[i] += penalty.detach()
            torch._foreach_add_(summed, _gradients(_scaled([run], penalty[None]), parameters))
    remaining = iter(summed)
    return total.tolist(), [list(islice(remaining, len(run.parameters))) for run in runs]


def _scaled(runs: Sequence[Run], losses: torch.Tensor) -> torch.Tensor:
    """The sum of the lanes' losses, each by its own run's scale (float16 bases; 1 otherwise)."""
    return torch.stack(
        [run.scaler.scale(loss) for run, loss in zip(runs, losses, strict=True)]
    ).sum()


def _gradients(
    loss: torch.Tensor, parameters: Sequence[torch.nn.Parameter]
) -> tuple[torch.Tensor, ...]:
    # Not `backward`: threads that add to one `.grad` would race.
    return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)


@torch.no_grad()
def evaluate(
    network: torch.nn.Module,
    validation: Sequence[Packed],
    lanes: int,
    packs: PackExecutor,
    inputs: Callable[[Packed], Mapping[str, Any]] = lambda packed: packed.inputs(),
) -> torch.Tensor:
    """Cross-entropy in nats of each example, summed over its targets: [lanes, examples]."""
    network.eval()

    def losses_of(packed: Packed) -> torch.Tensor:
        packed = packed.in_lanes(lanes)
        return sequence_losses(network, packed, inputs(packed))

    ends = list(accumulate(len(packed.ids) for packed in validation))
    mine = packs.processes.assign([*zip(ends, validation, strict=True)])
    losses = torch.zeros(lanes, ends[-1], device=validation[0].device)
    measured = packs.map(losses_of, [packed for (_, packed), _ in mine])
    for ((end, packed), counts), pack_losses in zip(mine, measured, strict=True):
        if counts:
            losses[:, end - len(packed.ids) : end] = pack_losses
    return packs.processes.all_reduce([losses])[0].double().cpu()


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Equal input gives equal bits in this context (same machine)."""
    before = torch.are_deterministic_algorithms_enabled()
    options: Any = torch.utils.deterministic
    filled = options.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    options.fill_uninitialized_memory = False  # every buffer here is written
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(before)
        options.fill_uninitialized_memory = filled


def _facts(prepared: Prepared) -> dict[str, Any]:
    """What a checkpoint says about base and data."""
    return {
        "initial_validation_loss": prepared.base_loss,
        "train_examples": len(prepared.train),
        "data": prepared.data.to_json(),
        "validation": [
            {"id": name, "targets": count}
            for packed in prepared.validation
            for name, count in zip(packed.ids, packed.counts, strict=True)
        ],
    }


def _memory(prepared: Prepared, trials: Sequence[TrialRun], keys: Sequence[str]) -> dict[str, Any]:
    """Peak memory as predicted; as measured so far where the run goes on from a checkpoint."""
    progress = checkpoint.read_progress(trials[0].out)
    if progress is not None and progress["key"] == keys[0]:
        return dict(progress["memory"])
    largest = max(trials, key=lambda trial: getattr(trial.settings.tune.method, "rank", 0))
    predicted = predict_run(
        prepared.base,
        prepared.train,
        largest.settings,
        len(trials),
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
        prepared.identity,
        settings.base.plain(),
        settings.tune.model_dump(mode="json", exclude={"checkpoint_minutes"}),
        settings.project.seed,
    )
