"""The main job: curate → sweep → judge → register → ask.

    perpetune run                          # here and now
    prefect deployment run retrain/nightly # on the platform that `perpetune up` started

A round is named by a key of everything that decides its outcome (data, base model, settings). Each
step keeps what it has done in a store of its own (DVC's cache, Optuna's study, the evaluations'
folder, the MLflow registry), so running the same round again goes on where it was interrupted and
registers its version once.
"""

import logging
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from flows.data import CuratedData, curated_data
from flows.progress import trial_table
from flows.ray import workers
from flows.recovery import recover
from flows.server import has_server
from tasks.core import files
from tasks.core.errors import PerpetuneError
from tasks.decisions import Version
from tasks.evaluate import Verdict, check_benchmarks, compare, model_card
from tasks.model import base_model
from tasks.registry import Candidate, DatasetRef, Registry
from tasks.settings import Settings, load_settings
from tasks.tune.sweep import sweep

log = logging.getLogger(__name__)

_DECISIVE = ("base", "tune", "sweep", "judge")
"""Sections of the settings that, with the curated data, decide what a round gives."""


@flow(name="retrain", flow_run_name="retrain: {reason}")
def retrain(
    params: str = "params.yaml",
    overrides: list[str] | None = None,
    reason: str = "on demand",
    auto_approve: bool = False,
) -> dict[str, Any]:
    """Bring a candidate to the registry and ask for a decision on it.

    Args:
        params: the settings file, relative to the project's folder.
        overrides: `section.key=value` settings that go before the file's.
        reason: why this round runs; shown to the reviewer.
        auto_approve: approve a candidate that passed its gates, for unattended demonstrations.

    Returns:
        The round: its key and folder, data, sweep, verdict, version, and what waits for a person.

    Raises:
        BadInput: the settings or the data cannot be used.
        PerpetuneError: another round runs here, or a step failed.
    """
    started = time.monotonic()
    settings = load_settings(Path(params), overrides or [])
    registry = Registry(settings)
    with only_round(settings):
        recover()
        data = curate_step(settings)
        key = round_key(settings, data)
        folder = settings.project.state_dir / "rounds" / key
        version = registry.versions.find(key)
        new = version is None
        if version is None:
            run_id = registry.tracking.open_round(
                key,
                name=f"round {key}: {reason}",
                params={name: settings.plain()[name] for name in ("curate", *_DECISIVE)},
                tags=lineage(settings, data) | {"reason": reason},
                datasets=[dataset(data, "train"), dataset(data, "validation")],
            )
            trials = sweep_step(settings, data, folder / "sweep", run_id)
            verdict = judge_step(settings, trials, folder / "judge")
            version = register_step(settings, key, run_id, data, folder, trials, verdict)
        else:
            log.info("nothing has changed since version %s: no new version", version.number)
        waits = registry.status().challenger == version.number
        if waits and auto_approve:
            registry.approve(version.number, "auto-approve", "unattended demonstration")
        elif waits:
            ask(settings, version, params, overrides or [])
    return {
        "round": key,
        "reason": reason,
        "folder": str(folder),
        "data": data.report | {"version": data.raw_version, "folder": str(data.folder)},
        "sweep": _read(folder / "sweep" / "sweep.json"),
        "verdict": _read(folder / "judge" / "verdict.json"),
        "version": version.number,
        "new": new,
        "status": registry.status().to_json(),
        "seconds": round(time.monotonic() - started, 1),
    }


@task(name="curate", task_run_name="curate")
def curate_step(settings: Settings) -> CuratedData:
    """Versioned data, curated."""
    data = curated_data(settings)
    log.info("curated: %s kept, %s dropped", data.report["kept"], data.report["dropped"])
    return data


@task(name="sweep", task_run_name="sweep")
def sweep_step(settings: Settings, data: CuratedData, out: Path, run_id: str) -> dict[str, Any]:
    """The search; each finished trial becomes a child run of the round."""
    check_benchmarks(settings)  # or the round would fail after its longest step
    registry = Registry(settings)
    datasets = [dataset(data, "train"), dataset(data, "validation")]

    def log_trial(trial: dict[str, Any], folder: Path) -> None:
        registry.tracking.log_trial(run_id, trial, folder, datasets)

    with trial_table() as show:
        return sweep(
            data.folder,
            out,
            settings,
            on_trial=log_trial,
            on_progress=show,
            workers=workers(settings),
        )


@task(name="judge", task_run_name="judge")
def judge_step(settings: Settings, trials: dict[str, Any], out: Path) -> Verdict:
    """The winner against the champion, or against the base where there is no champion yet."""
    registry = Registry(settings)
    champion = registry.versions.champion()
    adapter = (
        registry.versions.adapter(f"models:/{settings.project.name}/{champion.number}")
        if champion
        else None
    )
    return compare(Path(trials["best"]["adapter"]), adapter, out, settings)


@task(name="register", task_run_name="register")
def register_step(
    settings: Settings,
    key: str,
    run_id: str,
    data: CuratedData,
    folder: Path,
    trials: dict[str, Any],
    verdict: Verdict,
) -> Version:
    """The winner as a version of the registered model, with its evidence."""
    from tasks.drift import write_reference

    registry = Registry(settings)
    reference = write_reference(data.folder, folder / "reference.jsonl", settings)
    facts = lineage(settings, data)
    card = model_card(verdict, settings, facts | _winner(trials))
    candidate = Candidate(
        adapter=Path(trials["best"]["adapter"]),
        passed=verdict.passed,
        verdict=verdict.to_json(),
        card=card,
        artifacts=(reference,),
        tags=facts,
    )
    version = registry.register(run_id, key, candidate)
    evidence = [folder / "sweep" / "curves.png", folder / "sweep" / "heatmap.png", folder / "judge"]
    evidence += [data.folder / name for name in ("report.html", "data_card.md", "dropped.jsonl")]
    registry.tracking.close_round(
        run_id,
        metrics={"validation_loss": trials["best"]["validation_loss"]}
        | verdict.candidate.figures(),
        artifacts=[path for path in evidence if path.exists()],
    )
    create_markdown_artifact(card, key=f"candidate-{version.number}", description="Model card")
    return version


def ask(settings: Settings, version: Version, params: str, overrides: list[str]) -> None:
    """Start the flow that waits for a person, where a platform is there to keep it waiting."""
    if not has_server():
        return
    from prefect.deployments import run_deployment

    run_deployment(
        "promote/on-demand",
        parameters={"version": version.number, "params": params, "overrides": overrides},
        # Asked once for a version, however often its round is run.
        idempotency_key=f"promote-{settings.project.name}-{version.number}",
        timeout=0,
        as_subflow=False,
    )
    log.info("version %s waits for a decision in Prefect and in the terminal", version.number)


def round_key(settings: Settings, data: CuratedData) -> str:
    """What names a round: equal keys mean equal data, base, settings and benchmarks."""
    from tasks.records import expand

    plain = settings.plain()
    judged_on = [*settings.evaluate.benchmarks]
    if settings.evaluate.general_probe:
        judged_on.append(settings.evaluate.general_probe)
    return files.content_key(
        settings.project.name,
        settings.project.seed,
        base_model.identity(settings),
        {section: plain[section] for section in _DECISIVE},
        [data.train_hash, data.validation_hash],
        {path.as_posix(): files.md5(path) for path in expand(judged_on)},
    )


def lineage(settings: Settings, data: CuratedData) -> dict[str, str]:
    """Where a version comes from: code, data, settings and base, as tags."""
    return {
        "git_commit": _git("rev-parse", "HEAD") or "unknown",
        "git_dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower(),
        "data_version": data.raw_version or "unversioned",
        "train_hash": data.train_hash,
        "params_hash": files.content_key(settings.plain()),
        "base": base_model.identity(settings),
        "method": settings.tune.method.name,
    }


def dataset(data: CuratedData, split: Literal["train", "validation"]) -> DatasetRef:
    """A curated split as MLflow shows it: its digest is DVC's hash of the file."""
    return DatasetRef(
        name=f"curated-{split}",
        source=str(data.folder / f"{split}.jsonl"),
        digest=data.train_hash if split == "train" else data.validation_hash,
        context="training" if split == "train" else "validation",
    )


@contextmanager
def only_round(settings: Settings) -> Iterator[None]:
    """One round at a time works in a state folder."""
    from filelock import FileLock, Timeout

    state = settings.project.state_dir
    state.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state / "round.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise PerpetuneError(
            f"another round is running in {state}: wait for it, or stop it, and run again"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _read(path: Path) -> dict[str, Any] | None:
    return files.read_json(path) if path.is_file() else None


def _winner(trials: dict[str, Any]) -> dict[str, str]:
    best = trials["best"]
    used = {name: str(value) for name, value in best["params"].items() if value is not None}
    facts = {"trials": str(len(trials["trials"]))} | used
    selection = trials.get("selection")
    if selection:
        from tasks.tune.sweep import selection_sentence

        facts["how sure that choice is"] = selection_sentence(selection, best["validation_loss"])
    return facts
