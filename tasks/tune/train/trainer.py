"""The trainer, from encoded data to trained weights; it reads from top to bottom.

    prepare       the base model, how it reads packs, its loss on the validation data
    train_runs    takes runs of one base from where their folders say that they are
    attach        adapters on the base, and a fresh `Run` for each
    train_steps   batch after batch: backward, optimiser step, evaluation where one is due
    backward      loss and gradients of a batch, pack by pack
    evaluate      losses and metrics on the validation data

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
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from tasks.core import files
from tasks.core.plugins import plugin_hashes
from tasks.model import base_model, base_source
from tasks.settings import Settings
from tasks.tune.data import examples as tuning_data
from tasks.tune.data.batching import batches, first_by_hash
from tasks.tune.data.examples import Data
from tasks.tune.data.groups import Group, examples_of
from tasks.tune.data.packing import Packed, score
from tasks.tune.methods import METHODS
from tasks.tune.methods import recommended_ranges as ranges
from tasks.tune.methods.contract import AdaptedModel
from tasks.tune.methods.lora import lanes
from tasks.tune.objectives import Objective, objective_of
from tasks.tune.plan.arithmetic import predict_run
from tasks.tune.plan.machine import measured_peak
from tasks.tune.plan.profile import PassProfile
from tasks.tune.settings import Tune
from tasks.tune.train import checkpoint, checks, execution
from tasks.tune.train.conditions import conditions_of, extended
from tasks.tune.train.distributed import SINGLE, Processes
from tasks.tune.train.execution import Execution
from tasks.tune.train.finishing import Diverged
from tasks.tune.train.pack_executor import PackExecutor, pack_executor
from tasks.tune.train.run import Evaluation, Run, evaluation_steps
from tasks.tune.train.trials import TrialRun

log = logging.getLogger(__name__)

# cuBLAS reads this when it is first used, which is before a run is `deterministic`: when the base
# is looked at. Without it, deterministic mode refuses to work.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

_FORMAT = 4  # of checkpoints; a change of what they hold makes it 5
_MIN_VALIDATION = 40
_REFERENCE_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """What several runs share: the base model, the encoded data, the base model's loss on it."""

    base: PreTrainedModel
    execution: Execution
    """How the base reads several sequences at once."""
    train: list[Group]
    validation: list[Packed]
    objective: Objective
    base_loss: float
    data: Data
    processes: Processes
    identity: str
    """Of the base, as it was loaded: its weights are hashed once, not for each run."""
    profiles: dict[str, PassProfile] = field(default_factory=dict)
    """Those from which memory was predicted."""
    references: dict[str, dict[str, float]] = field(default_factory=dict)
    """Log-probability of each example under the base, by the groups that a run sees."""


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
        for example in examples_of(split.groups):
            base_model.check_ids(example.input_ids, base.config, f"{split.path}: {example.id}")
    form = execution.of(base, read.longest, settings)
    objective = objective_of(tune)
    checks.check_groups(form, read, objective)
    processes.shard_weights(base)
    train, seed = read.train.groups, settings.project.seed
    held_out = first_by_hash(
        read.validation.groups, validation_count(read.validation.groups, train, tune, seed)
    )
    with deterministic(seed), form.attention(base), pack_executor(base, processes, form) as packs:
        cut = form.cut(held_out, tune.micro_batch_tokens, packs.side_by_side, shared=True)
        validation = [form.lay(part, base.device) for part in cut]
        reference = reference_scores(base, validation, packs) if objective.needs_reference else None
        task = Task(objective, (), validation, reference)
        (measured,) = evaluate(base, task, 1, packs)
    _check_finite(measured.losses, read.validation.path, base)
    log.info("%d training examples; base model's validation loss %.4f", len(train), measured.loss)
    identity = base_source.identity(settings)
    return Prepared(
        base, form, train, validation, objective, measured.loss, read, processes, identity
    )


def validation_count(
    validation: Sequence[Group], train: Sequence[Group], tune: Tune, seed: int
) -> int:
    """How many validation examples each evaluation reads.

    `auto`: at least 40, and as many more as keep all evaluations below a tenth of the run's cost.
    A backward pass costs twice a forward, so that a token that is trained on costs three.
    """
    if tune.validation_examples != "auto":
        return tune.validation_examples
    trained = 3 * sum(group.tokens for batch in batches(train, tune, seed) for group in batch)
    cost = tune.evaluations * sum(group.tokens for group in validation) / len(validation)
    return max(_MIN_VALIDATION, int(0.1 * trained / cost))


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
    keys = [checkpoint_key(prepared, trial.settings) for trial in trials]
    needed = _memory(prepared, trials, keys)
    facts = _facts(prepared) | {"memory": needed}
    task = Task(prepared.objective, plan, prepared.validation, reference_of(prepared, plan))
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
                train_steps(behind, task, until, packs, on_step=stepped)
        before = needed.get("measured_bytes", 0)
        needed["measured_bytes"] = max(before, peak.measured_bytes or 0)
        save()


def reference_of(prepared: Prepared, plan: Sequence[Sequence[Group]]) -> dict[str, float] | None:
    """What the base says of the examples that a run sees, where the objective asks for it.

    It is computed of the same packs whatever was computed before, so that a run that goes on in
    another process gets equal bits.
    """
    if not prepared.objective.needs_reference:
        return None
    base, form = prepared.base, prepared.execution
    groups = list({group.id: group for batch in plan for group in batch}.values())
    key = files.content_key([group.id for group in groups])
    if key not in prepared.references:
        with (
            deterministic(seed=0),
            form.attention(base),
            pack_executor(base, prepared.processes, form) as packs,
        ):
            cut = form.cut(groups, _REFERENCE_TOKENS, packs.side_by_side, shared=True)
            laid = [form.lay(part, base.device) for part in cut]
            prepared.references[key] = reference_scores(base, laid + prepared.validation, packs)
    return prepared.references[key]


@contextmanager
def attach(prepared: Prepared, trials: Sequence[TrialRun], steps: int) -> Iterator[list[Run]]:
    """Fresh runs of these trials on the base, which is what it was afterwards."""
    base, tunes = prepared.base, [trial.settings.tune for trial in trials]
    tune = tunes[0]
    method = METHODS.get(tune.method.name)
    dtype = base.dtype  # before a method puts weights of its own in its place
    with ExitStack() as stack:
        stack.enter_context(deterministic(trials[0].settings.project.seed))
        stack.enter_context(prepared.execution.attention(base))
        if tune.gradient_checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
            stack.callback(base.gradient_checkpointing_disable)
        adapted: list[AdaptedModel]
        if method.batches_adapters:
            adapted = [*stack.enter_context(lanes(base, tunes))]
        else:
            adapted = [stack.enter_context(method.attach(base, tune, steps))]
        width = base.config.get_text_config().hidden_size
        yield [
            Run(model, own, ranges.learning_rate(own, width), steps, dtype=dtype)
            for model, own in zip(adapted, tunes, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Task:
    """What runs of one base learn: the same for all of them."""

    objective: Objective
    batches: Sequence[Sequence[Group]]
    """Those of a whole run."""
    validation: Sequence[Packed]
    reference: Mapping[str, float] | None = None
    """Log-probability of each example under the base, by its id, if the objective needs it."""


def train_steps(
    runs: Sequence[Run],
    task: Task,
    until: int,
    packs: PackExecutor,
    *,
    on_step: Callable[[Run], None] = lambda _: None,
) -> None:
    """Take runs from their common step to the step `until`, or to their end.

    A batch is cut into packs of `micro_batch_tokens`; its loss is the mean over all its groups, by
    their weights, so that the cut does not change the step.

    Args:
        runs: of one base, with equal settings of batches, clipping and evaluations.
        task: what they learn.
        until: step to stop after.
        packs: computes the packs.
        on_step: called after each step of each run.
    """
    due = evaluation_steps(len(task.batches), runs[0].tune.evaluations)
    alive = [run for run in runs if not run.ended]
    while alive and alive[0].step < until:
        began = time.perf_counter()
        batch = task.batches[alive[0].step]
        losses, gradients = backward(alive, batch, packs, task.objective, task.reference)
        tokens = sum(group.tokens for group in batch)
        here = conditions_of(alive[0], packs, adapters=len(alive))
        for run, loss, run_gradients in zip(alive, losses, gradients, strict=True):
            run.take_step(run_gradients, loss, tokens)
            run.computed = extended(run.computed, here)
        alive = [run for run in alive if not run.failure]
        if alive and alive[0].step in due:
            first = alive[0].adapted
            first.set_active([run.adapted for run in alive])
            measured = evaluate(first.network, task, len(alive), packs, inputs=first.inputs)
            for run, evaluation in zip(alive, measured, strict=True):
                run.record_evaluation(evaluation)
        for run in alive:
            run.seconds += (time.perf_counter() - began) / len(alive)
            run.curve[-1]["seconds"] = run.seconds
        for run in alive:
            on_step(run)
        alive = [run for run in alive if not run.ended]


def backward(
    runs: Sequence[Run],
    batch: Sequence[Group],
    packs: PackExecutor,
    objective: Objective,
    reference: Mapping[str, float] | None = None,
) -> tuple[list[float], list[list[torch.Tensor]]]:
    """Mean loss of the batch, and gradients of the scaled loss by each parameter, for each run."""
    first = runs[0].adapted
    first.set_active([run.adapted for run in runs])
    if not first.network.training:  # setting it walks over all modules
        first.network.train()
    parameters = [parameter for run in runs for parameter in run.parameters]
    device = parameters[0].device
    divisor = sum(objective.weight(group) for group in batch)

    def gradients_of(
        assigned: tuple[Sequence[Group], bool],
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        groups, counts = assigned
        packed = packs.execution.lay(groups, device, shared=not packs.random)
        packed = packed.in_lanes(len(runs))
        loss = objective.total_loss(score(first.network, packed, first.inputs(packed), reference))
        losses = loss * counts / divisor
        return losses.detach(), _gradients(_scaled(runs, losses), parameters)

    tokens = runs[0].tune.micro_batch_tokens
    cut = packs.execution.cut(batch, tokens, packs.side_by_side, shared=not packs.random)
    processes = packs.processes
    if packs.random:
        processes.seed_rank(runs[0].step, [group.id for group in batch])
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


def evaluate(
    network: torch.nn.Module,
    task: Task,
    lanes: int,
    packs: PackExecutor,
    *,
    inputs: Callable[[Packed], Mapping[str, Any]] = lambda packed: packed.inputs(),
) -> list[Evaluation]:
    """Losses and metrics on the task's validation data, of the adapter in each lane."""
    objective, validation = task.objective, task.validation
    names = objective.metric_names

    def read(packed: Packed) -> torch.Tensor:
        packed = packed.in_lanes(lanes)
        scores = score(network, packed, inputs(packed), task.reference)
        metrics = objective.metrics(scores)
        return torch.stack([objective.losses(scores), *(metrics[name] for name in names)])

    counts = [len(packed.groups) for packed in validation]
    losses, *metrics = _over_packs(network, validation, counts, packs, read)
    weights = [objective.weight(group) for packed in validation for group in packed.groups]
    return [
        Evaluation(
            losses[lane],
            sum(weights),
            {name: float(values[lane].mean()) for name, values in zip(names, metrics, strict=True)},
        )
        for lane in range(lanes)
    ]


def reference_scores(
    base: torch.nn.Module, packed: Sequence[Packed], packs: PackExecutor
) -> dict[str, float]:
    """Log-probability of each example's learned tokens in nats under the base alone, by its id."""

    def read(packed: Packed) -> torch.Tensor:
        return score(base, packed).log_probabilities()[None]

    counts = [len(pack.ids) for pack in packed]
    values = _over_packs(base, packed, counts, packs, read)[0, 0]
    names = [name for pack in packed for name in pack.ids]
    return dict(zip(names, values.tolist(), strict=True))


@torch.no_grad()
def _over_packs(
    network: torch.nn.Module,
    packed: Sequence[Packed],
    counts: Sequence[int],
    packs: PackExecutor,
    read: Callable[[Packed], torch.Tensor],
) -> torch.Tensor:
    """What `read` gives for each pack [R, K, count], one pack after another: [R, K, all counts].

    The processes share the packs; all of them get all values, in float64 on the CPU.
    """
    network.eval()
    ends = list(accumulate(counts))
    assigned = packs.processes.assign([*zip(ends, counts, packed, strict=True)])
    measured = packs.map(read, [pack for (_, _, pack), _ in assigned])
    values: torch.Tensor | None = None
    for ((end, count, _), counts_here), found in zip(assigned, measured, strict=True):
        if values is None:
            values = found.new_zeros(*found.shape[:-1], ends[-1])
        if counts_here:
            values[..., end - count : end] = found
    assert values is not None
    return packs.processes.all_reduce([values])[0].double().cpu()


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
            {"id": group.id, "targets": prepared.objective.weight(group)}
            for packed in prepared.validation
            for group in packed.groups
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


def checkpoint_key(prepared: Prepared, settings: Settings) -> str:
    """Equal keys mean equal runs: only then does one go on where another was stopped."""
    return files.content_key(
        _FORMAT,
        prepared.data.key,
        prepared.identity,
        settings.base.plain(),
        settings.tune.model_dump(mode="json", exclude={"checkpoint_minutes"}),
        settings.project.seed,
        plugin_hashes(settings.project.plugins),  # an edited loss is another run
    )
