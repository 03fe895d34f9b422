"""The data folder as a whole: brought in place, recorded if asked, and described."""

from dataclasses import dataclass
from pathlib import Path

from tasks.collect.data_version import ensure_data, recorded_version, write_pointer
from tasks.collect.embedded import collect_embedded
from tasks.collect.local_files import Role, collect_files
from tasks.core import files
from tasks.core.values import Value
from tasks.settings import Settings


@dataclass(frozen=True, slots=True)
class Inputs:
    """Data of the user's own; `collect_files` says what the fields mean."""

    paths: tuple[str, ...]
    role: Role = "train"
    add: bool = False
    split: str = "train"


class Collected(Value):
    """The data folder after `collect`."""

    folder: str
    version: str | None
    """The recorded version (`data.dvc`); None where none is recorded."""
    recorded: bool
    """Whether the folder is that version."""
    files: dict[str, str]
    """MD5 of each file."""


def collect(
    settings: Settings,
    data: Path,
    inputs: Inputs | None = None,
    *,
    accept: bool = False,
    manifest: Path | None = None,
) -> Collected:
    """Bring the data folder in place.

    It holds the user's own `inputs` if there are any, else what the pointer beside it records
    (`data.dvc`), else the embedded default.

    Args:
        settings: `collect` describes the embedded default.
        data: the folder.
        inputs: the user's own data, to be copied there.
        accept: record the folder as it then is: `dvc add`.
        manifest: where to write the MD5 of each file as JSON.

    Raises:
        BadInput, PerpetuneError: as `collect_files`, `ensure_data`, `collect_embedded` and
            `write_pointer`.
    """
    pointer = pointer_to(data)
    if inputs:
        collect_files(list(inputs.paths), data, inputs.role, add=inputs.add, split=inputs.split)
        hashes = files.file_hashes(data)
    elif accept and data.is_dir():
        hashes = files.file_hashes(data)
    elif accept or not pointer.is_file():
        hashes = collect_embedded(settings, data)
    else:
        hashes = ensure_data(settings, data, pointer)
    if accept:
        write_pointer(data, pointer)
    if manifest:
        files.write_json(manifest, hashes)
    version = recorded_version(pointer)
    recorded = version == files.folder_hash(hashes)
    return Collected(folder=str(data), version=version, recorded=recorded, files=hashes)


def pointer_to(data: Path) -> Path:
    """DVC's file about a folder: `data.dvc` beside `data`."""
    return Path(f"{data}.dvc")
