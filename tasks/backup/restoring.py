"""Putting a backup back: into a project without state, or one in which it was begun before."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from tasks.backup.manifest import Manifest, Restored, read_manifest, target
from tasks.core import files
from tasks.core.errors import BadInput, Refused
from tasks.settings import Settings

_BESIDE = ("-wal", "-shm", "-journal")


def restore(settings: Settings, folder: Path) -> Restored:
    """Put the files of a backup where they belong; nothing else is overwritten or deleted.

    Every file of the backup is checked first. Where it is interrupted, it is called again.

    Raises:
        BadInput: the folder is no backup of this project, or a file in it is missing or altered.
        Refused: the project has a file of its own in a place of the backup's.
        OSError: a file cannot be read or written.
    """
    folder = folder.absolute()
    manifest = read_manifest(folder)
    if manifest.project != settings.project.name:
        raise BadInput(
            f"{folder} is a backup of the project {manifest.project!r}, not of "
            f"{settings.project.name!r} (project.name)"
        )
    _verify(folder, manifest)
    missing = list(_missing(settings, manifest))
    for name in missing:
        with (
            files.atomic_write(target(settings, name)) as file,
            (folder / name).open("rb") as saved,
        ):
            shutil.copyfileobj(saved, file)
        if "credentials" in Path(name).parts[:2]:
            target(settings, name).chmod(0o600)
    return Restored(
        folder=str(folder),
        state_dir=str(settings.project.state_dir),
        made=manifest.made,
        files=len(manifest.files),
        unchanged=len(manifest.files) - len(missing),
        left_out=manifest.left_out,
    )


def _verify(folder: Path, manifest: Manifest) -> None:
    for name, saved in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise BadInput(f"{folder} lacks {name}: the backup is not whole, nothing was restored")
        if files.sha256(path) != saved.sha256:
            raise BadInput(f"{path} is not what was saved: it was altered, nothing was restored")


def _missing(settings: Settings, manifest: Manifest) -> Iterator[str]:
    """Files that the project lacks; what it has must be what the backup has."""
    for name, saved in manifest.files.items():
        path = target(settings, name)
        beside = [Path(f"{path}{end}") for end in _BESIDE]
        taken = next((other for other in beside if other.exists()), None)
        if path.exists() and files.sha256(path) != saved.sha256:
            taken = path
        if taken:
            raise Refused(
                f"{taken} is there already, and a backup overwrites nothing: move "
                f"{settings.project.state_dir} away first "
                f"(`mv {settings.project.state_dir} {settings.project.state_dir}.before`)"
            )
        if not path.exists():
            yield name
