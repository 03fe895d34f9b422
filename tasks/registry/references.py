"""How people name a model: `base`, a registered version, or a folder."""

from pathlib import Path

from tasks.core.errors import BadInput
from tasks.registry.registry import Registry
from tasks.settings import Settings


def resolve_model(reference: str, settings: Settings) -> Path | None:
    """The folder of a model; None for `base`, the base model alone.

    Args:
        reference: `base`, `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or a folder that training
            wrote: an adapter or a whole model.
        settings: the project, whose registry holds the versions.

    Raises:
        BadInput: there is no such folder or version.
    """
    if reference == "base":
        return None
    if reference.startswith("models:/"):
        return Registry(settings).versions.adapter(reference)
    folder = Path(reference)
    if not folder.is_dir():
        raise BadInput(
            f"{reference}: no such adapter folder; also possible: models:/name@alias, base"
        )
    return folder
