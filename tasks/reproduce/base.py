"""The base model of a version: the same files, or a sentence that says what they are not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.core.errors import BadInput
from tasks.model import base_source
from tasks.model.base_source import BaseRecord
from tasks.model.settings import Base
from tasks.reproduce.results import DataCheck, Recipe
from tasks.reproduce.worker import Worker
from tasks.settings import Settings


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
    section, wanted = base_section(recipe), recipe.base
    found = base_source.record(settings.replace(base=Base.model_validate(section)))
    if found.files != wanted.files:
        changed = sorted(dict(wanted.files.items() ^ found.files.items()))
        raise BadInput(
            f"base.model: {section['model']} is not the model that the version was made from: "
            f"{_version(wanted)} is recorded, here is {_version(found)}; "
            f"{', '.join(changed[:3])} differ; {_REMEDIES[wanted.source]}"
        )
    how = {"folder": "a folder", "hub": "from the hub, by its commit"}.get(wanted.source)
    if wanted.source == "package":
        how = _reuse_converted(recipe, settings.project.state_dir, fresh)
    else:
        _link(section["model"], worker)
    return DataCheck(
        name=f"base {section['model']}", recorded=wanted.digest, found=found.digest, how=how or ""
    )


_REMEDIES = {
    "package": "install that version of the package",
    "folder": "bring the folder back to what it was",
    "hub": "download it again",
}


def base_section(recipe: Recipe) -> dict[str, Any]:
    """The section `base` of the recipe, with the hub's commit and the type that `auto` meant."""
    section: dict[str, Any] = dict(recipe.settings["base"])
    if recipe.base.source == "hub":
        section["revision"] = recipe.base.version
    if section.get("dtype") == "auto" and recipe.computed:
        section["dtype"] = recipe.computed[-1].dtype
    return section


def _version(base: BaseRecord) -> str:
    return f"{base.name} {base.version or base.digest[:12]}"


def _reuse_converted(recipe: Recipe, state: Path, fresh: Path) -> str:
    for folder in (state / "models").glob(f"{recipe.base.name}-*"):
        if folder.is_dir() and recipe.converted and files.sha256s(folder) == recipe.converted:
            target = fresh / "models" / folder.name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(folder.resolve(), target_is_directory=True)
            return "an installed package, converted before with the recorded hashes"
    return "an installed package, converted again"


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
