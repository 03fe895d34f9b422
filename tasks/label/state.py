"""Which rows were handed out: kept until they come back."""

from pathlib import Path

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.label.values import Batch
from tasks.settings import Settings


def keep(batch: Batch, settings: Settings) -> None:
    """Remember a batch."""
    files.write_json(_folder(settings) / f"{batch.key}.json", batch.to_json())


def batch_of(key: str, settings: Settings, place: str) -> Batch:
    """The batch that a row belongs to.

    Args:
        key: of the batch.
        settings: of the project.
        place: file and line that name it, for the message.

    Raises:
        BadInput: this project has handed out no such batch.
    """
    path = _folder(settings) / f"{key}.json"
    if not key.isalnum() or not path.is_file():
        raise BadInput(
            f"{place}: row of a batch {key!r} that was not handed out in this project (looked for "
            f"in {_folder(settings)}); take it back where `perpetune label --budget` was run"
        )
    return Batch.from_json(files.read_json(path), str(path))


def _folder(settings: Settings) -> Path:
    return settings.project.model_dir / "label"
