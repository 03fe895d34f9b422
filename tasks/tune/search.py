"""The search over configurations: proposed and judged by Optuna, trained one after another.

A trial enters Optuna's database when, and only when, it has ended. While it runs, it lives in a
study in memory that begins as a copy of the database and whose sampler is seeded by the trial's
number. So a process may die at any moment: the next one finds the finished trials, proposes what
would have been proposed, and compares it with what it would have been compared with.
"""

import datetime
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from tasks import base_model, files
from tasks.errors import BadInput, PerpetuneError
from tasks.settings import Settings, Sweep
from tasks.tune import pictures, training
from tasks.tune.loop import Diverged
from tasks.tune.methods import alpha

log = logging.getLogger(__name__)

_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def run(
    data: Path,
    out: Path,
    settings: Settings,
    *,
    on_trial: Callable[[dict[str, Any], Path], None] | None = None,
) -> dict[str, Any]:
    """`tasks.tune.sweep`; its docstring is the contract."""
    key = _key(data, settings)
    done = _finished_sweep(out, key)
    if done is not None:
        log.info("%s holds this sweep already", out)
        for trial in done["trials"]:
            _announce(trial, out, on_trial)
        return done
    began = time.perf_counter()
    with _study(key, out, settings) as study:
        trials = [_row(trial, settings) for trial in study.trials]
        earlier = sum(trial["seconds"] for trial in trials)
        for trial in trials:
            _announce(trial, out, on_trial)
        count = _count(settings.sweep)
        prepared = None
        while len(trials) < count:
            prepared = prepared or training.prepare(data, settings)
            trial = _row(_run_trial(study, prepared, out, settings), settings)
            trials.append(trial)
            log.info("trial %d of %d: %s", len(trials), count, _sentence(trial))
            _announce(trial, out, on_trial)
        return _write_result(key, trials, earlier + time.perf_counter() - began, out)


def _key(data: Path, settings: Settings) -> str:
    """Equal keys mean that a sweep would give the same trials."""
    paths = [data / "train.jsonl", data / "validation.jsonl"]
    for path in paths:
        if not path.is_file():
            raise BadInput(f"{path}: no such file; `perpetune curate` writes it")
    return files.content_key(
        [files.md5(path) for path in paths],
        base_model.identity(settings),
        settings.base.dtype,
        settings.tune.model_dump(mode="json", exclude={"rank", "learning_rate"}),
        settings.sweep.model_dump(mode="json"),
        settings.project.seed,
    )


def _finished_sweep(out: Path, key: str) -> dict[str, Any] | None:
    if not (out / "sweep.json").is_file() or not (out / "best").is_dir():
        return None
    found = files.read_json(out / "sweep.json")
    return found if found.get("key") == key else None


@contextmanager
def _study(key: str, out: Path, settings: Settings) -> Iterator[optuna.Study]:
    """The study of this sweep into this folder, for one process at a time."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    state_dir = settings.project.state_dir.absolute()
    state_dir.mkdir(parents=True, exist_ok=True)
    name = f"{settings.project.name}-{key}-{files.content_key(str(out.absolute()))}"
    try:
        with FileLock(state_dir / f"{name}.lock", timeout=0):
            database = sqlalchemy.URL.create("sqlite", database=str(state_dir / "optuna.sqlite"))
            storage = optuna.storages.RDBStorage(database.render_as_string())
            study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
            if not all(_is_whole(trial, out) for trial in study.trials):
                log.warning("%s: folders of finished trials are gone; starting over", out)
                optuna.delete_study(study_name=name, storage=storage)
                study = optuna.create_study(storage=storage, study_name=name)
            yield study
    except Timeout:
        raise PerpetuneError(
            f"{out}: another process runs this sweep; wait for it, or give another folder"
        ) from None


def _is_whole(trial: FrozenTrial, out: Path) -> bool:
    failed = trial.state == TrialState.FAIL
    return failed or (_folder(out, trial.number) / "metrics.json").is_file()


def _count(sweep: Sweep) -> int:
    grid = len(sweep.rank) * len(sweep.learning_rate)
    return min(sweep.trials, grid) if sweep.sampler == "grid" else sweep.trials


def _run_trial(
    stored: optuna.Study, prepared: training.Prepared, out: Path, settings: Settings
) -> FrozenTrial:
    """Propose the next configuration, train it, and add the ended trial to the stored study."""
    study = optuna.create_study(
        sampler=_sampler(settings, len(stored.trials)), pruner=_pruner(settings.sweep)
    )
    study.add_trials(stored.trials)
    trial = study.ask(_space(settings.sweep))
    tune = settings.tune.model_copy(update=trial.params)
    folder = _folder(out, trial.number)
    if folder.exists():
        shutil.rmtree(folder)
    began = time.perf_counter()
    evaluations = 0

    def report(_step: int, validation_loss: float) -> bool:
        # Rungs are counted in evaluations, so that each falls on one.
        nonlocal evaluations
        evaluations += 1
        trial.report(validation_loss, evaluations)
        return trial.should_prune()

    try:
        trained = settings.model_copy(update={"tune": tune})
        metrics = training.run(prepared, folder, trained, report=report)
    except Diverged as error:
        log.warning("trial %d failed: %s; lower sweep.learning_rate", trial.number, error)
        metrics = {"state": "failed", "validation_loss": None}
    curve = files.read_jsonl(folder / "curve.jsonl")
    ended = study.trials[-1]
    if metrics["state"] == "failed":
        # A trial that came to nothing must not have stopped those that it led for a while.
        ended.system_attrs = {
            name: value
            for name, value in ended.system_attrs.items()
            if not name.startswith("completed_rung")
        }
    ended.state = next(state for state, name in _STATES.items() if name == metrics["state"])
    ended.value = metrics["validation_loss"]
    ended.user_attrs = {
        "steps": len(curve),
        "tokens": sum(row["tokens"] for row in curve),
        "seconds": time.perf_counter() - began,
    }
    ended.datetime_complete = datetime.datetime.now()
    stored.add_trial(ended)
    return stored.trials[-1]


def _sampler(settings: Settings, number: int) -> optuna.samplers.BaseSampler:
    sweep = settings.sweep
    if sweep.sampler == "grid":
        grid: dict[str, list[Any]] = {"rank": sweep.rank, "learning_rate": sweep.learning_rate}
        return optuna.samplers.GridSampler(grid, seed=settings.project.seed)
    seed = int(files.content_key(settings.project.seed, number)[:8], 16)
    if sweep.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def _pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    if not sweep.prune:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=1, reduction_factor=sweep.reduction_factor
    )


def _space(sweep: Sweep) -> dict[str, optuna.distributions.BaseDistribution]:
    rates = sweep.learning_rate
    return {
        "rank": optuna.distributions.CategoricalDistribution(sweep.rank),
        "learning_rate": (
            optuna.distributions.CategoricalDistribution(rates)
            if sweep.sampler == "grid"
            else optuna.distributions.FloatDistribution(min(rates), max(rates), log=True)
        ),
    }


def _row(trial: FrozenTrial, settings: Settings) -> dict[str, Any]:
    tune = settings.tune.model_copy(update=trial.params)
    return {
        "number": trial.number,
        "params": trial.params | {"alpha": alpha(tune)},
        "state": _STATES[trial.state],
        "validation_loss": trial.value,
        **trial.user_attrs,
    }


def _folder(out: Path, number: int) -> Path:
    return out / "trials" / str(number)


def _announce(
    trial: dict[str, Any], out: Path, on_trial: Callable[[dict[str, Any], Path], None] | None
) -> None:
    if on_trial is not None:
        on_trial(trial, _folder(out, trial["number"]))


def _sentence(trial: dict[str, Any]) -> str:
    params, loss = trial["params"], trial["validation_loss"]
    return (
        f"rank {params['rank']}, learning rate {params['learning_rate']:g}: {trial['state']} "
        f"after {trial['steps']} steps and {trial['seconds']:.0f} s, validation loss "
        f"{'none' if loss is None else f'{loss:.4f}'}"
    )


def _write_result(
    key: str, trials: list[dict[str, Any]], seconds: float, out: Path
) -> dict[str, Any]:
    complete = [trial for trial in trials if trial["state"] == "complete"]
    if not complete:
        raise PerpetuneError(
            f"{out}: all {len(trials)} trials failed; lower sweep.learning_rate in params.yaml"
        )
    best = min(complete, key=lambda trial: (trial["validation_loss"], trial["number"]))
    with files.atomic_folder(out / "best") as building:
        winner = _folder(out, best["number"]) / "best"
        shutil.copytree(winner, building, dirs_exist_ok=True)
    curves = {
        trial["number"]: files.read_jsonl(_folder(out, trial["number"]) / "curve.jsonl")
        for trial in trials
    }
    pictures.draw_curves(trials, curves, best["number"], out / "curves.png")
    pictures.draw_heatmap(trials, best["number"], out / "heatmap.png")
    tokens = sum(trial["tokens"] for trial in trials)
    metrics = files.read_json(_folder(out, best["number"]) / "metrics.json")
    result = {
        "key": key,
        "trials": trials,
        "best": {
            "number": best["number"],
            "params": best["params"],
            "validation_loss": best["validation_loss"],
            "adapter": str(out / "best"),
        },
        "initial_validation_loss": metrics["initial_validation_loss"],
        "seconds": seconds,
        "tokens_trained": tokens,
        "tokens_per_second": tokens / seconds,
    }
    files.write_json(out / "sweep.json", result)
    return result
