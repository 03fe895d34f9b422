"""Taking a backup of a project that is in use.

SQLite copies a database as of one moment while others write (its online backup:
https://www.sqlite.org/backup.html). Order does the rest: an artifact is on the disk before MLflow's
database names it, and an entry is in the decision log before this machine's copy has it. So this
copy is taken first, then the databases, then the artifacts, and nothing in a backup refers to what
it lacks.
"""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from tasks.backup.manifest import LOG, NAME, STATE, Backup, Manifest, Saved
from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError, Refused
from tasks.core.locks import exclusive
from tasks.core.secrets import redacted
from tasks.settings import Settings

_ARTIFACTS = "mlartifacts"
_CREDENTIALS = "credentials"
_PREFECT = "prefect"
# Names, at any depth, of what is made again, belongs to one machine, or is a backup itself.
_MADE_AGAIN = frozenset(
    [
        *("models", "curated", "executions", "evaluations", "evaluated", "versions", "rounds"),
        *("reproduce", "reproduced", "optuna.sqlite"),
        *("logs", "locks", "platform.json", "backups"),
    ]
)
_PASSING = (".lock", ".partial", ".old", "-wal", "-shm", "-journal")
_SQLITE = b"SQLite format 3\0"
_SECONDS = 60.0


def back_up(
    settings: Settings, folder: Path, *, artifacts: bool = True, credentials: bool = False
) -> Backup:
    """Save the project's databases, decision log, artifacts and the watch's memory.

    The project may be in use meanwhile.

    Args:
        settings: the project.
        folder: where to; made here, readable by this user only.
        artifacts: copy MLflow's artifacts; otherwise the backup only lists them.
        credentials: save credentials, too.

    Raises:
        BadInput: `folder` holds something already, or the project has no state.
        Refused: a decision has held the registry's lock for a minute.
        PerpetuneError: a database is damaged.
        OSError: a file cannot be read or written.
    """
    state = settings.project.state_dir.absolute()
    folder = folder.absolute()
    _check(state, folder)
    found = sorted(_wanted(state, folder, credentials=credentials))
    if not found:
        raise BadInput(f"{state} holds nothing to save yet")
    with files.atomic_folder(folder) as building:
        building.chmod(0o700)
        saved = building / STATE
        with _no_decision_meanwhile(state):
            _copy_log(settings, building)
            for path in found:
                if path.parts[0] == "decisions":
                    _copy(state / path, saved / path)
            for path in found:
                if path.parts[0] not in ("decisions", _ARTIFACTS):
                    _copy(state / path, saved / path)
        names = [path for path in found if path.parts[0] == _ARTIFACTS]
        listed = {} if artifacts else {path.as_posix(): _size(state / path) for path in names}
        # Once more: those that the databases have named since.
        for path in sorted(_wanted(state, folder, credentials=credentials)) if artifacts else ():
            if path.parts[0] == _ARTIFACTS:
                _copy(state / path, saved / path)
        hashes = files.sha256s(building)
        manifest = Manifest(
            project=settings.project.name,
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            files={
                name: Saved(bytes=(building / name).stat().st_size, sha256=value)
                for name, value in hashes.items()
            },
            listed=listed,
            left_out=tuple(_left_out(settings, artifacts=artifacts, credentials=credentials)),
        )
        files.write_json(building / NAME, manifest.to_json())
    return Backup(
        folder=str(folder),
        files=len(manifest.files),
        bytes=sum(item.bytes for item in manifest.files.values()),
        left_out=manifest.left_out,
    )


def is_database(path: Path) -> bool:
    """Whether a file is a SQLite database."""
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _check(state: Path, folder: Path) -> None:
    if folder == state or folder in state.parents:
        raise BadInput(f"{folder} holds the state itself; name a new folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} is not empty; nothing is overwritten: name a new folder")


def _wanted(state: Path, out: Path, *, credentials: bool) -> Iterator[Path]:
    """Files to save, relative to the state folder."""
    for root, folders, names in os.walk(state):
        here = Path(root).relative_to(state)
        inside = here.parts[:1] == (_ARTIFACTS,)
        folders[:] = [
            name
            for name in folders
            if (inside or name not in _MADE_AGAIN)
            and (credentials or here.parts or name != _CREDENTIALS)
            and Path(root, name) != out
            and not name.endswith(_PASSING)
        ]
        for name in names:
            path = here / name
            passing = name.endswith(_PASSING) or (not inside and name in _MADE_AGAIN)
            # Of Prefect's folder the database alone; the rest is settings and scratch.
            prefects = path.parts[0] == _PREFECT and path.name != "prefect.db"
            if not passing and not prefects and not Path(root, name).is_symlink():
                yield path


@contextlib.contextmanager
def _no_decision_meanwhile(state: Path) -> Iterator[None]:
    busy = Refused(f"a decision has been holding {state / 'locks'} for a minute; try again later")
    with exclusive(state / "locks" / "aliases.lock", busy, seconds=_SECONDS):
        yield


def _copy_log(settings: Settings, building: Path) -> None:
    path = Path(settings.decisions.log)
    if settings.decisions.log != "mlflow" and "://" not in settings.decisions.log:
        _copy(path.absolute(), building / LOG / path.name)


def _copy(source: Path, copy: Path) -> None:
    """A file as of one moment; what has been deleted meanwhile is left out."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        if is_database(source):
            _copy_database(source, copy)
        else:
            shutil.copyfile(source, copy)
    except FileNotFoundError:
        copy.unlink(missing_ok=True)
        return
    copy.chmod(0o600)


def _copy_database(source: Path, copy: Path) -> None:
    address = f"file:{quote(str(source))}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(address, uri=True, timeout=_SECONDS)) as original,
            closing(sqlite3.connect(copy)) as written,
        ):
            original.backup(written)  # in one step: others wait for it, and cannot starve it
            (sound,) = written.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise PerpetuneError(f"{source} cannot be copied: {error}") from error
    if sound != "ok":
        raise PerpetuneError(f"{source} is damaged: {sound}")


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _left_out(settings: Settings, *, artifacts: bool, credentials: bool) -> Iterator[str]:
    remote = settings.project.tracking_uri
    if remote:
        yield f"MLflow's data at {redacted(remote)}: with the tools of that server or database"
    database = os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "")
    home = Path(os.environ.get("PREFECT_HOME", settings.project.state_dir / _PREFECT)).absolute()
    if database and not database.startswith("sqlite"):
        yield f"Prefect's data at {redacted(database)}: with the tools of that database"
    elif not home.is_relative_to(settings.project.state_dir.absolute()):
        yield f"Prefect's data in {home} (PREFECT_HOME)"
    if "://" in settings.decisions.log:
        yield f"the decision log at {redacted(settings.decisions.log)}: with that database's tools"
    if not artifacts:
        yield "MLflow's artifacts: the backup lists them"
    if not credentials:
        yield "credentials: `perpetune up` makes new ones"
    yield "raw data: `dvc push`"
