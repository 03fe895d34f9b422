"""Several models in one project: `models/NAME.yaml` beside `params.yaml` is laid over it.

What belongs to one model (its rounds and their lock, what `watch` has looked at, curated copies) is
below `Project.model_dir`. The platform, the databases and the credentials are the project's.
"""

import re
from pathlib import Path
from typing import Any

from tasks.core.errors import BadInput
from tasks.settings.yaml_values import BadYaml, parse

FOLDER = "models"
OF_THE_PROJECT = (
    ("project", "model"),
    ("project", "state_dir"),
    ("project", "tracking_uri"),
    ("platform", "prefect_port"),
    ("platform", "mlflow_port"),
    ("platform", "host"),
    ("platform", "accounts"),
    ("platform", "prefect_address"),
    ("platform", "mlflow_address"),
)
"""Keys that a model's file cannot have: all models share one platform and its databases."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_COMMAND = re.compile(r"`perpetune (?!up\b|down\b|backup\b)([a-z][^`]*)`")


def models(params: Path) -> tuple[str, ...]:
    """The names of the models that have a file beside `params`, sorted; the default has none."""
    found = params.parent.joinpath(FOLDER).glob("*.yaml")
    return tuple(sorted(path.stem for path in found if _NAME.fullmatch(path.stem)))


def model_file(params: Path, name: str) -> Path:
    """The file of a model.

    Raises:
        BadInput: the name can be none, or there is no such model; the message lists those there
            are.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"--model {name}: no name of a model; letters, digits, '.', '_' and '-' (100 at most, "
            "the first a letter or digit)"
        )
    known = models(params)  # exactly these: a file system may take `a` for `A`
    folder = params.parent / FOLDER
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "there is none yet"
        raise BadInput(
            f"--model {name}: {folder / f'{name}.yaml'} does not exist; {there}; without --model "
            f"the model is that of {params.name}"
        )
    return folder / f"{name}.yaml"


def registered_names(params: Path) -> list[tuple[str, Path]]:
    """The `project.name` of each model with its file; files that cannot be read are left out."""
    found: list[tuple[str, Path]] = []
    for name in models(params):
        path = params.parent / FOLDER / f"{name}.yaml"
        try:
            value = parse(path.read_text(encoding="utf-8-sig")).value
        except (BadYaml, OSError, ValueError):
            continue
        found.append((registered_name(value, name), path))
    return found


def registered_name(values: Any, default: str) -> str:
    """`project.name` of a file's values, as they were read."""
    project = values.get("project") if isinstance(values, dict) else None
    name = project.get("name") if isinstance(project, dict) else None
    return name if isinstance(name, str) else default


def for_model(text: str, model: str | None) -> str:
    """A sentence whose commands, in backticks, are for a model: each gets `--model NAME`."""
    if model is None:
        return text
    return _COMMAND.sub(
        lambda found: (
            found[0] if "--model" in found[1] else f"`perpetune {found[1]} --model {model}`"
        ),
        text,
    )
