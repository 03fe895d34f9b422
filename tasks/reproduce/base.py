"""The base model of a version: the same files, or a sentence that says what they are not."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model import base_source
from tasks.model.settings import Base
from tasks.reproduce.results import DataCheck, Recipe
from tasks.reproduce.worker import Worker
from tasks.settings import Settings

log = logging.getLogger(__name__)


def find_base(recipe: Recipe, worker: Worker, settings: Settings, fresh: Path) -> DataCheck:
    """See that the base model is the recorded one, and where the worktree's code finds it.

    Args:
        recipe: with the base's name and files.
        worker: in the version's worktree.
        settings: those of the project now. A converted model in its state folder is used if its
            files are the recorded ones.
        fresh: the state folder of the version that is made again.

    Raises:
        BadInput: there is no such base here, or it is another one.
    """
    base = Base.model_validate(recipe.settings["base"])
    name, state = base.model, settings.project.state_dir
    settings = settings.replace(base=base)
    if name.startswith("package:"):
        how = _reuse_converted(recipe, name.removeprefix("package:"), state, fresh)
        settings = settings.replace(project=settings.project.replace(state_dir=fresh))
    else:
        how = "a folder" if Path(name).expanduser().is_dir() else "from the hub"
        _link(name, worker)
    identity = base_source.identity(settings)
    if identity != recipe.base:
        raise BadInput(
            f"base.model: the version was made from {recipe.base}, here is {identity}; "
            f"{_remedy(name)}"
        )
    found = files.file_hashes(base_source.locate(settings))
    wanted = recipe.base_files
    # What a download leaves beside the model's files does not count.
    changed = [file for file, digest in wanted.items() if found.get(file) != digest]
    if changed and not name.startswith("package:"):
        raise BadInput(
            f"base.model: {name} is not the model that the version was made from: "
            f"{', '.join(changed[:5])} differ; {_remedy(name)}"
        )
    digests = {file: found.get(file) for file in wanted}
    return DataCheck(
        name=f"base {name}",
        recorded=files.content_key(wanted),
        found=files.content_key(digests),
        how=how,
    )


def _remedy(name: str) -> str:
    if name.startswith("package:"):
        return "install that version of the package"
    if Path(name).expanduser().is_dir():
        return "bring the folder back to what it was"
    return "pin its revision in base.revision"


def _reuse_converted(recipe: Recipe, package: str, state: Path, fresh: Path) -> str:
    for folder in (state / "models").glob(f"{package}-*"):
        if folder.is_dir() and files.file_hashes(folder) == recipe.base_files:
            target = fresh / "models" / folder.name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(folder.resolve(), target_is_directory=True)
            return "converted before, with the recorded hashes"
    return "converted again from the installed package"


def _link(name: str, worker: Worker) -> None:
    """Let a relative path lead to the same folder from the worktree, too."""
    folder = Path(name).expanduser()
    wanted = worker.project / folder
    if folder.is_absolute() or not folder.is_dir() or wanted.exists():
        return
    root = worker.scratch.resolve()
    if not wanted.resolve().is_relative_to(root):
        raise BadInput(
            f"base.model: {name} leads out of the project, so that it means another folder in a "
            "worktree; name it by its absolute path"
        )
    wanted.parent.mkdir(parents=True, exist_ok=True)
    wanted.symlink_to(folder.resolve(), target_is_directory=True)


def with_state(settings: Mapping[str, Any], state: Path) -> dict[str, Any]:
    """Settings with another state folder."""
    project = {**settings["project"], "state_dir": str(state.absolute())}
    return {**settings, "project": project}
