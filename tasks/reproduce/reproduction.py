"""A registered version made again from what is recorded of it, and compared with it."""

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.core import files
from tasks.core.environment import environment
from tasks.core.errors import PerpetuneError
from tasks.core.locks import exclusive
from tasks.reproduce import comparison, training
from tasks.reproduce.base import find_base, with_state
from tasks.reproduce.data import dvc_cache, find_data, share_cache
from tasks.reproduce.recipe import code_hashes, read_recipe
from tasks.reproduce.report import write_report
from tasks.reproduce.results import DataCheck, FileCheck, Recipe, Recorded, Reproduction
from tasks.reproduce.training import Trained
from tasks.reproduce.worker import Worker
from tasks.reproduce.worktree import check_source, worktree
from tasks.settings import Settings

log = logging.getLogger(__name__)

TRAINED = "trained"
"""Folder of the training below that of a reproduction."""


def reproduce(
    recorded: Recorded, out: Path, settings: Settings, *, keep: bool = False, project: Path = Path()
) -> Reproduction:
    """Make a version again, with its own code, and compare the two.

    The worktree, the data and a state folder of their own are in the project's state folder, below
    `reproduce/`, and are removed at the end. Interrupted and called again, the training goes on.

    Args:
        recorded: the version, as the registry gives it out.
        out: folder for `reproduction.json`, `reproduction.md` and `adapter/`.
        settings: those of the project now: its state folder.
        keep: leave the folder below `reproduce/` as it is.
        project: the project's folder.

    Raises:
        BadInput: code, data or base of the version are not to be had, or what is recorded is
            incomplete.
        PerpetuneError: a step failed, or another process makes this version again.
    """
    began = time.monotonic()
    recipe = read_recipe(recorded.recipe)
    check_source(recipe.source, project)
    work = settings.project.state_dir.absolute() / "reproduce" / f"{recorded.model}-{recipe.round}"
    busy = PerpetuneError(f"version {recorded.version} is being made again by another process")
    with exclusive(work.with_name(f"{work.name}.lock"), busy), _folder(work, keep=keep):
        with worktree(recipe.source, recorded.recipe, work / "code", project, keep=keep) as inside:
            worker = Worker(inside, work, training.variables(recipe))
            made = _make(recipe, worker, settings, project)
        result = _compare(recorded, recipe, made, out)
        with files.atomic_folder(out / "adapter") as building:
            shutil.copytree(made.trained.adapter, building, dirs_exist_ok=True)
    result = result.model_copy(update={"seconds": round(time.monotonic() - began, 1)})
    write_report(result, out)
    return result


@dataclass(frozen=True, slots=True)
class _Made:
    """What the recorded code has made here."""

    code: dict[str, str]
    data: tuple[DataCheck, ...]
    trained: Trained
    notes: tuple[str, ...] = ()


def _make(recipe: Recipe, worker: Worker, settings: Settings, project: Path) -> _Made:
    state = worker.scratch / "state"
    own = with_state(recipe.settings, state)
    base = find_base(recipe, worker, settings, state)
    cache = dvc_cache(project)
    if cache is not None and (worker.project / ".dvc").is_dir():
        share_cache(worker, project, cache)
    data = find_data(recipe, worker, own, cache)
    trained = training.train_again(recipe, worker, own, data.folder, worker.scratch / TRAINED)
    code = code_hashes(worker.project / "tasks" if worker.own_code else None)
    notes = (f"The data could not be curated again: {data.reason}",) if data.reason else ()
    return _Made(code, (base, *data.checks), trained, notes)


def _compare(recorded: Recorded, recipe: Recipe, made: _Made, out: Path) -> Reproduction:
    trained = made.trained
    alone = trained.how == "trial"
    differences = (
        *comparison.compare_code(recipe.code, made.code),
        *comparison.compare_environments(recipe.environment, environment()),
        *comparison.compare_conditions(recipe.computed, trained.computed, alone=alone),
    )
    losses = comparison.compare_losses(recipe.curve, trained.curve)
    adapter = comparison.compare_files(
        recipe.adapter, files.sha256s(recorded.adapter), files.sha256s(trained.adapter)
    )
    same_files = all(file.same for file in adapter)
    weights = None
    if not same_files:
        weights = comparison.compare_weights(recorded.adapter, trained.adapter)
    return Reproduction(
        model=recorded.model,
        version=recorded.version,
        round=recipe.round,
        commit=recipe.source.commit or "",
        identical=all(check.same for check in made.data) and losses.same and same_files,
        same_conditions=not any(difference.decisive for difference in differences),
        how=trained.how,
        data=made.data,
        environment=differences,
        losses=losses,
        adapter=adapter,
        weights=weights,
        notes=(*made.notes, *_notes(recipe, adapter)),
        folder=out,
        seconds=0.0,
    )


def _notes(recipe: Recipe, adapter: Sequence[FileCheck]) -> Iterator[str]:
    altered = [file.name for file in adapter if file.registered != file.recorded]
    if altered:
        yield f"The registry does not hold what the round trained: {', '.join(altered)} differ."
    if len(recipe.computed) > 1:
        yield (
            "The version was computed under several conditions one after another; it was made "
            "again under the last of them."
        )
    # DVC rewrites its lock file in every round.
    changed = [name for name in recipe.source.changed if Path(name).name != "dvc.lock"]
    if changed:
        yield f"Not committed when it was trained: {', '.join(changed)}."


@contextmanager
def _folder(work: Path, *, keep: bool) -> Iterator[None]:
    """The folder of one reproduction; it stays where its training was interrupted."""
    work.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if not keep and not (work / TRAINED).exists():
            shutil.rmtree(work, ignore_errors=True)
        raise
    if keep:
        log.info("kept %s", work)
    else:
        shutil.rmtree(work, ignore_errors=True)
