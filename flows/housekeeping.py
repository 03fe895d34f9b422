"""What has to be done now and then so that a platform goes on by itself: once a week on it.

    prefect deployment run housekeeping/weekly

Weights of trials that nobody needs any more go, DVC's cache is cleaned, the databases are backed
up, and runs that lost their process are ended. Each part is done although another failed.
"""

import logging
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.states import Completed

from flows.artifacts import show_housekeeping
from flows.cache_cleaning import clean_cache
from flows.recovery import alive, recover
from flows.results import Done, Housekept
from flows.round import only_round
from flows.steps import step, tag_run
from tasks.backup import back_up
from tasks.core.errors import PerpetuneError, first_line
from tasks.decisions import Standing
from tasks.registry import Registry
from tasks.settings import Settings, load_settings

log = logging.getLogger(__name__)


@flow(name="housekeeping", flow_run_name="housekeeping", retries=0, persist_result=False)
def housekeeping(
    params: str = "params.yaml", overrides: list[str] | None = None, model: str | None = None
) -> Housekept:
    """Delete what is kept too long, clean DVC's cache, back up the databases.

    Args:
        params: the settings file, relative to the project's folder.
        overrides: `section.key=value` settings that go before the file's.
        model: of `models/MODEL.yaml`, whose rounds alone are looked at; None: the default model,
            and what belongs to the whole project.

    Raises:
        PerpetuneError: a part failed; the others were done.
    """
    settings = load_settings(Path(params), overrides or [], model or None)
    tag_run(f"model {settings.project.name}")
    with alive(settings):
        parts = [runs_step, trials_step]
        parts += [] if model else [cache_step, backup_step]
        done = [_done(part.name, part(settings, return_state=True)) for part in parts]
    result = Housekept(done=tuple(done))
    show_housekeeping(settings, result)
    failed = [part.name for part in done if not part.well]
    if failed:
        raise PerpetuneError(f"housekeeping: {', '.join(failed)} failed: see the run's log")
    return cast(Housekept, Completed(message=result.sentence, data=result))


def _done(name: str, state: Any) -> Done:
    outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, BaseException):
        return Done(name=name, well=False, what=first_line(outcome))
    return Done(name=name, well=True, what=outcome)


@step("end dead runs", hours=0.25)
def runs_step(settings: Settings) -> str:
    """Mark runs that lost their process as crashed."""
    found = recover(settings)
    return f"{len(found)} runs had lost their process" if found else "no run had lost its process"


@step("delete trials", hours=4)
def trials_step(settings: Settings) -> str:
    """Delete the weights of trials whose round was decided long ago; figures and curves stay."""
    with only_round(settings):
        versions = Registry(settings).versions.state().versions.values()
        folders = [found for version in versions for found in _weights(settings, version)]
        freed = sum(_size(folder) for folder in folders)
        for folder in folders:
            shutil.rmtree(folder)
    return f"{freed / 1e6:.1f} MB of trials deleted"


@step("clean DVC's cache", hours=12)
def cache_step(settings: Settings) -> str:
    """Remove what no commit, no registered version and not the present data needs."""
    if not settings.housekeeping.clean_cache:
        return "left as it is (housekeeping.clean_cache)"
    return clean_cache(settings)


@step("back up", hours=4)
def backup_step(settings: Settings) -> str:
    """Save the databases, and delete the oldest backups."""
    keep = settings.housekeeping.keep_backups
    if keep == 0:
        return "none made (housekeeping.keep_backups)"
    place = settings.project.state_dir / "backups"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    saved = back_up(settings, place / now, artifacts=False)
    for old in sorted(path for path in place.glob("????-??-??T??????Z") if path.is_dir())[:-keep]:
        shutil.rmtree(old)
    return f"{saved.folder}"


def _weights(settings: Settings, version: Standing) -> Iterator[Path]:
    """The folders of a version's trials, if it was decided long ago: they hold weights alone."""
    key = version.registration.round
    if key is None or version.waiting:
        return
    folder = settings.project.model_dir / "rounds" / key
    if not folder.is_dir():
        return
    # What failed its gates was decided by nobody: its round's folder says when.
    written = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    since = datetime.fromisoformat(version.decided.at) if version.decided else written
    if datetime.now(UTC) - since < timedelta(days=settings.housekeeping.keep_trials_days):
        return
    for trial in sorted((folder / "sweep" / "trials").glob("*")):
        yield from (path for path in sorted(trial.glob("*")) if path.is_dir())


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))
