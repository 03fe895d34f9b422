"""The search over configurations: proposed by Optuna, trained in cohorts, halved at rungs.

A cohort is asked for at once and taken from rung to rung together; after each rung the weaker
trials end. Optuna's database holds the trials as they run, each trial's folder what it needs to go
on. So a process may die at any moment: the next one finds the cohort, takes each trial on from
where its folder says that it stands, and compares it with what it would have been compared with.
"""

import contextlib
import itertools
import json
import logging
import math
import shutil
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from filelock import FileLock, Timeout
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from tasks.core import files
from tasks.core.errors import PerpetuneError
from tasks.model import base_source
from tasks.settings import Settings
from tasks.tune.data import examples as tuning_data
from tasks.tune.data.examples import Data
from tasks.tune.methods.settings import LowRank
from tasks.tune.settings import (
    LEARNING_RATE,
    METHOD,
    LogRange,
    Range,
    Sweep,
    Tune,
    axis_name,
    configured,
    ends,
    takes_whole_numbers,
    uses,
)
from tasks.tune.sweep import halving, selection
from tasks.tune.sweep import plots as pictures
from tasks.tune.train import checkpoint, checks, results
from tasks.tune.train.executors import process_executor, sequential_executor
from tasks.tune.train.local_executor import LocalExecutor
from tasks.tune.train.results import Diverged
from tasks.tune.train.run import Run
from tasks.tune.train.trials import Executor, TrialRun

log = logging.getLogger(__name__)

_FORMAT = 2  # of what trials leave; a change of it makes it 3

_STATES = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}

Trial = dict[str, Any]
"""A trial as `sweep.json` holds it; in `params`, what its method does not use is null."""


def run(
    data: Path,
    out: Path,
    settings: Settings,
    *,
    on_trial: Callable[[Trial, Path], None] = lambda *_: None,
    on_progress: Callable[[list[Trial]], None] = lambda _: None,
    workers: Callable[[Path], AbstractContextManager[Executor]] | None = None,
) -> dict[str, Any]:
    """`tasks.tune.sweep`; its docstring is the contract."""
    key = _key(data, settings)
    done = _finished_sweep(out, key)
    if done is not None:
        log.info("%s holds this sweep already", out)
        for trial in done["trials"]:
            on_trial(trial, _folder(out, trial["number"]))
        return done
    began = time.perf_counter()
    read = tuning_data.read(data, settings)
    warnings = _checked(read, settings)
    seen = tuning_data.seen(read.train.groups, settings.tune, settings.project.seed)
    log.info("of a whole trial, %s", seen)
    with _study(key, out, settings) as study:
        earlier = study.user_attrs.get("seconds", 0.0)
        board = _Board(study, out, settings, on_progress)
        for trial in study.trials:
            if trial.state.is_finished():
                on_trial(_row(trial, out, settings), _folder(out, trial.number))
        with _executor(data, read, out, settings, workers, board) as execute:
            while cohort := _cohort(study, out, settings):
                for trial in _through_rungs(study, cohort, out, settings, execute, board):
                    on_trial(trial, _folder(out, trial["number"]))
                    study.set_user_attr("seconds", earlier + time.perf_counter() - began)
            trials = [_row(trial, out, settings) for trial in study.trials]
            seeds = _other_seeds(key, study, _best(trials, out), out, settings, execute)
        seconds = earlier + time.perf_counter() - began
        found = {"key": key, "trials": trials, "seeds": seeds, "seconds": seconds}
        found |= {"warnings": warnings, "examples_seen": seen.examples, "epochs": seen.epochs}
        return _write_result(found, out, settings)


def _checked(read: Data, settings: Settings) -> list[str]:
    """Refuse what cannot work, whichever trial has it, and say what may not; returns the latter."""
    warnings = checks.check(read, settings, _configurations(settings))
    for warning in warnings:
        log.warning("%s", warning)
    return warnings


@contextmanager
def _executor(
    data: Path,
    read: Data,
    out: Path,
    settings: Settings,
    workers: Callable[[Path], AbstractContextManager[Executor]] | None,
    board: "_Board",
) -> Iterator[Executor]:
    """Who trains: workers elsewhere, processes here, or this process."""
    if workers is not None:
        with workers(data) as execute:
            yield execute
    elif settings.sweep.workers > 1:
        with process_executor(data, settings.sweep.workers, settings.tune.processes) as execute:
            yield execute
    elif settings.tune.processes > 1:
        yield sequential_executor(data)
    else:
        yield LocalExecutor(data, out / "lanes.json", board.stepped, read=read)


def _cohort(study: optuna.Study, out: Path, settings: Settings) -> list[optuna.Trial]:
    """The trials that run, or else the next ones, asked for together; none when all have ended."""
    sweep = settings.sweep
    running = [trial.number for trial in study.trials if trial.state == TrialState.RUNNING]
    asked = len(study.trials)
    first = min(running, default=asked) // sweep.cohort * sweep.cohort
    for number in range(asked, min(_count(settings), first + sweep.cohort)):
        shutil.rmtree(_folder(out, number), ignore_errors=True)  # of another sweep, or half begun
        study.add_trial(_proposed(study, settings))
        running.append(number)
    ids = {trial.number: trial._trial_id for trial in study.trials}
    return [optuna.Trial(study, ids[number]) for number in running]


def _proposed(study: optuna.Study, settings: Settings) -> FrozenTrial:
    """The next trial, with those settings only that its method uses.

    It is drawn in memory: a process that dies in between leaves no half of one in the database.
    """
    number = len(study.trials)
    space = _space(settings)
    if settings.sweep.sampler == "grid":
        params = _grid(settings)[number]
    else:
        draft = optuna.create_study(sampler=_sampler(settings, number))
        draft.add_trials(study.trials)
        trial = draft.ask()
        keys = _keys(settings.sweep)
        for name in sorted(space, key=lambda name: keys[name] != METHOD):
            if uses(_tune(trial.params, settings), keys[name]):
                _suggest(trial, name, space[name])
        params = trial.params
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=params,
        distributions={name: space[name] for name in params},
    )


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> None:
    if isinstance(distribution, FloatDistribution):
        trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(name, distribution.choices)


def _through_rungs(
    study: optuna.Study,
    cohort: Sequence[optuna.Trial],
    out: Path,
    settings: Settings,
    execute: Executor,
    board: "_Board",
) -> Iterator[Trial]:
    """Train a cohort from rung to rung; yield each trial as it ends."""
    running = {trial.number: trial for trial in cohort}
    jobs = {number: _job(trial, out, settings) for number, trial in running.items()}
    for rung in [*_rungs(settings), None]:
        begun = [n for n in running if not (jobs[n].out / "metrics.json").is_file()]
        if begun:
            execute([jobs[number] for number in begun], rung)
        for number, trial in [*running.items()]:
            if _report(trial, jobs[number]):
                del running[number]
                yield _ended(study, number, out, settings)
        if rung is None:
            break
        for number in sorted(_weak(study, running, rung, out, settings)):
            results.finish(jobs[number], "pruned")
            study.tell(running.pop(number), state=TrialState.PRUNED)
            yield _ended(study, number, out, settings)
        board.show()


def _weak(
    study: optuna.Study, running: Collection[int], rung: int, out: Path, settings: Settings
) -> set[int]:
    """The numbers of the running trials that end at a rung."""
    standing: dict[int, halving.Losses] = {}
    targets = None
    for trial in study.trials:
        if rung in trial.intermediate_values and trial.state != TrialState.FAIL:
            losses, targets = _losses(_folder(out, trial.number))
            standing[trial.number] = losses[rung - 1]
    here = {number: standing.pop(number) for number in running if number in standing}
    if not here or targets is None:
        return set()
    factor = settings.sweep.reduction_factor
    return here.keys() - halving.promoted(here, [*standing.values()], targets, factor)


def _losses(folder: Path) -> tuple[halving.Losses, halving.Losses]:
    """Of a trial: the summed loss of each validation example at each of its evaluations
    [evaluations, E], and the learned tokens of each [E]."""
    progress = checkpoint.read_progress(folder)
    if progress is None:
        rows = files.read_jsonl(folder / "validation.jsonl")
    else:
        rows = results.validation_rows(progress)
    losses = np.array([row["losses"] for row in rows], dtype=float).T
    return losses, np.array([row["targets"] for row in rows], dtype=float)


def _rungs(settings: Settings) -> list[int]:
    """The evaluations after which trials are compared."""
    sweep = settings.sweep
    return halving.rungs(settings.tune.evaluations, sweep.reduction_factor) if sweep.prune else []


def _report(trial: optuna.Trial, job: TrialRun) -> bool:
    """Enter a trial's evaluations, and its end if it has come; whether it has."""
    study = trial.study
    progress = checkpoint.read_progress(job.out)
    curve = files.read_jsonl(job.out / "curve.jsonl") if progress is None else progress["curve"]
    losses = [row["validation_loss"] for row in curve if "validation_loss" in row]
    known = study.trials[trial.number].intermediate_values
    for evaluation, loss in enumerate(losses, start=1):
        if evaluation not in known:
            trial.report(loss, evaluation)
    if progress is not None and not progress["ended"]:
        return False
    try:
        metrics = results.finish(job) if progress else files.read_json(job.out / "metrics.json")
    except Diverged as error:
        log.warning("trial %d failed: %s; lower the rates of sweep.space", trial.number, error)
        trial.set_user_attr("reason", str(error))
        study.tell(trial, state=TrialState.FAIL)
        return True
    if metrics["state"] == "pruned":
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, metrics["validation_loss"])
    return True


def _ended(study: optuna.Study, number: int, out: Path, settings: Settings) -> Trial:
    trial = _row(study.trials[number], out, settings)
    log.info("%s", _sentence(trial))
    return trial


def _key(data: Path, settings: Settings) -> str:
    """Equal keys mean that a sweep would give the same trials."""
    return files.content_key(
        _FORMAT,
        [files.md5(path) for path in tuning_data.split_files(data)],
        base_source.identity(settings),
        settings.base.plain(),
        _fixed(settings),
        settings.sweep.model_dump(
            mode="json",
            exclude={"adapters_per_pass", "workers", "engine", "trial_cpus", "trial_gpus"},
        ),
        settings.project.seed,
    )


def _fixed(settings: Settings) -> dict[str, Any]:
    """What the sweep does not vary."""
    tune = settings.tune.plain()
    del tune["checkpoint_minutes"]
    for key in settings.sweep.space:
        first, _, inner = key.removeprefix("tune.").partition(".")
        if inner:
            tune[first].pop(inner, None)
        elif key != METHOD:
            del tune[first]
    return tune


def _finished_sweep(out: Path, key: str) -> dict[str, Any] | None:
    if not (out / "sweep.json").is_file() or not (out / "best").is_dir():
        return None
    try:
        found = files.read_json(out / "sweep.json")
    except PerpetuneError:
        log.warning("%s is damaged: written anew", out / "sweep.json")
        return None
    return found if found.get("key") == key else None


@contextmanager
def _study(key: str, out: Path, settings: Settings) -> Iterator[optuna.Study]:
    """The study of this sweep into this folder, for one process at a time."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    state_dir = settings.project.state_dir.absolute()
    state_dir.mkdir(parents=True, exist_ok=True)
    name = f"{settings.project.name}-{key}-{files.content_key(str(out.absolute()))}"
    lock = FileLock(state_dir / f"{name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise PerpetuneError(
            f"{out}: another process runs this sweep; wait for it, or give another folder"
        ) from None
    try:
        database = sqlalchemy.URL.create("sqlite", database=str(state_dir / "optuna.sqlite"))
        storage = optuna.storages.RDBStorage(database.render_as_string())
        study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
        if not all(_is_whole(trial, out) for trial in study.trials):
            log.warning("%s: folders of finished trials are gone; starting over", out)
            optuna.delete_study(study_name=name, storage=storage)
            study = optuna.create_study(storage=storage, study_name=name)
        yield study
    finally:
        lock.release()


def _is_whole(trial: FrozenTrial, out: Path) -> bool:
    unfinished = trial.state in (TrialState.FAIL, TrialState.RUNNING)
    return unfinished or (_folder(out, trial.number) / "metrics.json").is_file()


_FIRST = ("rank", "alpha", "method", "target_modules", "dropout")


def _keys(sweep: Sweep) -> dict[str, str]:
    """The keys of `sweep.space` by the names that trials know them by, in an order that does not
    depend on that of the file."""
    names = {axis_name(key): key for key in sweep.space}
    first = [name for name in _FIRST if name in names]
    others = sorted(names.keys() - {*_FIRST, axis_name(LEARNING_RATE)})
    last = [axis_name(LEARNING_RATE)] if LEARNING_RATE in sweep.space else []
    return {name: names[name] for name in [*first, *others, *last]}


def _space(settings: Settings) -> dict[str, BaseDistribution]:
    """What is varied. Optuna's choices are plain values, so that others stand there as JSON."""
    sweep = settings.sweep
    return {
        name: _distribution(key, sweep.space[key], settings) for name, key in _keys(sweep).items()
    }


def _distribution(key: str, axis: list[Any] | Range, settings: Settings) -> BaseDistribution:
    if isinstance(axis, list):
        if key != LEARNING_RATE or settings.sweep.sampler == "grid":
            return CategoricalDistribution([_choice(value) for value in axis])
        axis = LogRange(log=(min(axis), max(axis)))
    low, high = ends(axis)
    log = isinstance(axis, LogRange)
    if takes_whole_numbers(settings.tune, key, low):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _choice(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _chosen(value: Any) -> Any:
    """The inverse of `_choice`."""
    return json.loads(value) if isinstance(value, str) and value[:1] in ("[", "{") else value


def _tune(params: Mapping[str, Any], settings: Settings) -> Tune:
    keys = _keys(settings.sweep)
    values = {keys[name]: _chosen(value) for name, value in params.items()}
    return configured(settings.tune, values)


def _configurations(settings: Settings) -> list[Tune]:
    """Every configuration that a trial can have; of a range, its ends."""
    if settings.sweep.sampler == "grid":
        return [_tune(params, settings) for params in _grid(settings)[: _count(settings)]]
    space: dict[str, Any] = _space(settings)
    axes = [
        each.choices if isinstance(each, CategoricalDistribution) else (each.low, each.high)
        for each in space.values()
    ]
    found: dict[str, Tune] = {}
    for values in itertools.product(*axes):
        tune = _tune(dict(zip(space, values, strict=True)), settings)
        found.setdefault(files.content_key(tune.plain()), tune)
    return list(found.values())


def _count(settings: Settings) -> int:
    sweep = settings.sweep
    return min(sweep.trials, len(_grid(settings))) if sweep.sampler == "grid" else sweep.trials


def _grid(settings: Settings) -> list[dict[str, Any]]:
    """Each configuration of the grid once, in an order by the seed: a few of them are spread."""
    space: dict[str, Any] = _space(settings)
    keys = _keys(settings.sweep)
    configurations: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*(each.choices for each in space.values())):
        params = dict(zip(space, values, strict=True))
        tune = _tune(params, settings)
        used = {name: value for name, value in params.items() if uses(tune, keys[name])}
        # Two rules for alpha can come to one number.
        same = used | {"alpha": _alpha(tune)} if "alpha" in used else used
        configurations.setdefault(files.content_key(same), used)
    order = np.random.default_rng(settings.project.seed).permutation(len(configurations))
    listed = [*configurations.values()]
    return [listed[place] for place in order]


def _alpha(tune: Tune) -> int | float | None:
    """LoRA's alpha as a number; None where the method has none."""
    return tune.method.scaling_alpha if isinstance(tune.method, LowRank) else None


def _sampler(settings: Settings, number: int) -> optuna.samplers.BaseSampler:
    seed = int(files.content_key(settings.project.seed, number)[:8], 16)
    if settings.sweep.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    # Told of the cohort's other trials as bad ones, it keeps away from them.
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def _job(trial: optuna.Trial, out: Path, settings: Settings) -> TrialRun:
    tune = _tune(trial.params, settings)
    return TrialRun(_folder(out, trial.number), settings.replace(tune=tune))


def _row(trial: FrozenTrial, out: Path, settings: Settings) -> Trial:
    folder = _folder(out, trial.number)
    tune = _tune(trial.params, settings)
    progress = checkpoint.read_progress(folder)
    known: dict[str, Any] | None
    if progress is not None:
        known, curve, loss = progress, progress["curve"], progress["best_loss"]
    else:
        done, kept = folder / "metrics.json", folder / "curve.jsonl"
        known = files.read_json(done) if done.is_file() else None
        curve = files.read_jsonl(kept) if kept.is_file() else []
        loss = known["validation_loss"] if known else None
    seconds = curve[-1]["seconds"] if curve else 0.0
    return {
        "number": trial.number,
        "params": _params(trial, tune, settings, known),
        "state": _STATES[trial.state],
        "reason": trial.user_attrs.get("reason"),
        "rung": sum(rung in trial.intermediate_values for rung in _rungs(settings)),
        "steps": len(curve),
        "validation_loss": None if trial.state == TrialState.FAIL else loss,
        "tokens": sum(row["tokens"] for row in curve),
        "seconds": seconds,
        "memory": None if known is None else known["memory"],
    }


def _params(
    trial: FrozenTrial, tune: Tune, settings: Settings, known: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What is varied, rank, alpha and learning rate always among it; null what is not used."""
    values = tune.short()
    names = dict.fromkeys(["rank", "learning_rate", *_keys(settings.sweep)])
    method = _chosen(trial.params.get("method"))
    if isinstance(method, dict):
        names |= dict.fromkeys(name for name in method if name != "name")
    params = {name: values.get(name) for name in names} | {"alpha": _alpha(tune)}
    if params["learning_rate"] == "auto":
        rate = (known or {}).get("rate", (known or {}).get("params", {}).get("learning_rate"))
        params["learning_rate"] = rate
    return params


def _folder(out: Path, number: int) -> Path:
    return out / "trials" / str(number)


class _Board:
    """The trials as they stand, for whoever watches."""

    def __init__(
        self,
        study: optuna.Study,
        out: Path,
        settings: Settings,
        on_progress: Callable[[list[Trial]], None],
    ) -> None:
        self._study, self._out, self._settings = study, out, settings
        self._on_progress = on_progress
        self._rows: dict[Path, Trial] = {}

    def show(self) -> None:
        """Take all trials from the study anew."""
        self._rows = {
            _folder(self._out, trial.number): _row(trial, self._out, self._settings)
            for trial in self._study.trials
        }
        self._on_progress([*self._rows.values()])

    def stepped(self, job: TrialRun, run: Run) -> None:
        """A run that is trained in this process has taken a step."""
        if job.out not in self._rows:
            self.show()
        if job.out in self._rows:  # other seeds of a winner are no trials
            evaluations = len(run.evaluations)
            self._rows[job.out] |= {
                "rung": sum(rung <= evaluations for rung in _rungs(self._settings)),
                "steps": run.step,
                "validation_loss": run.best_loss if math.isfinite(run.best_loss) else None,
                "seconds": run.seconds,
                "learning_rate": run.curve[-1]["learning_rate"],
                "seconds_left": run.seconds / run.step * (run.steps - run.step),
            }
            self._on_progress([*self._rows.values()])


def _sentence(trial: Trial) -> str:
    loss = trial["validation_loss"]
    params = trial["params"].items()
    named = {name.replace("_", " "): value for name, value in params if value is not None}
    configuration = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in named.items()
    )
    return (
        f"trial {trial['number']} ({configuration}): {trial['state']} after {trial['steps']} steps "
        f"and {trial['seconds']:.0f} s, validation loss "
        f"{'none' if loss is None else f'{loss:.4f}'}"
    )


def _best(trials: Sequence[Trial], out: Path) -> list[Trial]:
    """The complete trials, best first."""
    complete = [trial for trial in trials if trial["state"] == "complete"]
    if not complete:
        reason = next((trial["reason"] for trial in trials if trial["reason"]), "")
        raise PerpetuneError(
            f"{out}: all {len(trials)} trials failed (the first: {reason}); lower "
            "the learning rates of sweep.space"
        )
    return sorted(complete, key=lambda trial: (trial["validation_loss"], trial["number"]))


def _other_seeds(
    key: str,
    study: optuna.Study,
    best: Sequence[Trial],
    out: Path,
    settings: Settings,
    execute: Executor,
) -> list[dict[str, Any]]:
    """The best configurations trained again from other seeds, and how far their losses spread."""
    sweep, project = settings.sweep, settings.project
    jobs: dict[tuple[int, int], TrialRun] = {}
    for trial in best[: sweep.reseed_top] if sweep.seeds else []:
        for seed in range(project.seed + 1, project.seed + 1 + sweep.seeds):
            own = settings.replace(
                tune=_tune(study.trials[trial["number"]].params, settings),
                project=project.replace(seed=seed),
            )
            folder = out / "seeds" / key / f"{trial['number']}-{seed}"
            jobs[trial["number"], seed] = TrialRun(folder, own)
    missing = [job for job in jobs.values() if not (job.out / "metrics.json").is_file()]
    if missing:
        execute(missing, None)
    found: dict[int, list[float | None]] = {}
    for (number, _), job in jobs.items():
        with contextlib.suppress(Diverged):
            if job in missing:
                results.finish(job)
        path = job.out / "metrics.json"
        loss = files.read_json(path)["validation_loss"] if path.is_file() else None
        found.setdefault(number, []).append(loss)
    spread = []
    for trial in best:
        if trial["number"] in found:
            losses = [trial["validation_loss"], *found[trial["number"]]]
            finite = [loss for loss in losses if loss is not None]
            spread.append(
                {
                    "number": trial["number"],
                    "validation_losses": losses,
                    "mean": statistics.mean(finite),
                    "standard_deviation": statistics.stdev(finite) if len(finite) > 1 else None,
                }
            )
    return spread


def _write_result(found: dict[str, Any], out: Path, settings: Settings) -> dict[str, Any]:
    """Write `best/`, the pictures and, last of all, `sweep.json`, which is returned."""
    trials: list[Trial] = found["trials"]
    best = _best(trials, out)[0]
    folder = _folder(out, best["number"])
    with files.atomic_folder(out / "best") as building:
        shutil.copytree(folder / "best", building, dirs_exist_ok=True)
    metrics = files.read_json(folder / "metrics.json")
    base_loss = metrics["initial_validation_loss"]
    curves = {
        trial["number"]: files.read_jsonl(_folder(out, trial["number"]) / "curve.jsonl")
        for trial in trials
    }
    pictures.draw_curves(trials, curves, best["number"], base_loss, out / "curves.png")
    pictures.draw_heatmap(trials, best["number"], base_loss, out / "heatmap.png")
    measured = {
        trial["number"]: _losses(_folder(out, trial["number"]))
        for trial in trials
        if trial["state"] != "failed"
    }
    chosen = selection.assess(
        {number: losses for number, (losses, _) in measured.items()},
        measured[best["number"]][1],
        best["number"],
        seed=settings.project.seed,
    )
    winner = {
        "number": best["number"],
        "params": best["params"],
        "validation_loss": best["validation_loss"],
        "worse_than_base": metrics["worse_than_base"],
        "adapter": str(out / "best"),
    }
    tokens = sum(trial["tokens"] for trial in trials)
    result = found | {
        "best": winner,
        "initial_validation_loss": base_loss,
        "worse_than_base": metrics["worse_than_base"],
        "train_examples": metrics["train_examples"],
        "data": metrics["data"],
        "selection": chosen.to_json(),
        "tokens_trained": tokens,
        "tokens_per_second": tokens / found["seconds"],
    }
    if metrics["worse_than_base"]:
        log.warning("%s", results.worse_than_base(metrics, "the best trial"))
    files.write_json(out / "sweep.json", result)
    return result
