"""What a backup holds: `manifest.json`, written last, so that a backup without it is none."""

from pathlib import Path, PurePosixPath

from pydantic import field_validator

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.core.values import Value
from tasks.settings import Settings

NAME = "manifest.json"
STATE = "state"
"""Files of the state folder."""
LOG = "decision-log"
"""A decision log that is a file of its own (`decisions.log`)."""


class Saved(Value):
    """One file of a backup."""

    bytes: int
    sha256: str


class Manifest(Value):
    """Every file of a backup by its POSIX path in it, and what is elsewhere."""

    project: str
    made: str
    """UTC, ISO 8601."""
    files: dict[str, Saved]
    listed: dict[str, int]
    """Bytes of artifacts that were there and were not copied."""
    left_out: tuple[str, ...] = ()

    @field_validator("files")
    @classmethod
    def _inside(cls, value: dict[str, Saved]) -> dict[str, Saved]:
        for name in value:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or path.parts[:1] not in ((STATE,), (LOG,)):
                raise ValueError(f"a path that leads out of the backup: {name!r}")
        return value


class Backup(Value):
    """What was saved."""

    folder: str
    files: int
    bytes: int
    left_out: tuple[str, ...]
    """What belongs to the project and is elsewhere, with what saves it."""


class Restored(Value):
    """What was put back."""

    folder: str
    state_dir: str
    made: str
    files: int
    unchanged: int
    """Of these, how many were there already."""
    left_out: tuple[str, ...]


def read_manifest(folder: Path) -> Manifest:
    """That of a backup.

    Raises:
        BadInput: the folder is no backup, or one that was not finished.
    """
    path = folder / NAME
    if not path.is_file():
        raise BadInput(f"{folder} is no backup of `perpetune backup`: it has no {NAME}")
    try:
        return Manifest.from_json(files.read_json(path), str(path))
    except PerpetuneError as error:
        raise BadInput(f"{path} cannot be read as the list of a backup's files: {error}") from None


def target(settings: Settings, name: str) -> Path:
    """Where a file of a backup belongs in a project."""
    path = PurePosixPath(name)
    if path.parts[0] == LOG:
        return Path(settings.decisions.log)
    return settings.project.state_dir.joinpath(*path.parts[1:])
