"""What a version was made of, as one file that is registered with it."""

from dataclasses import dataclass
from pathlib import Path

from tasks.core import files
from tasks.core.code_version import source_hash
from tasks.core.environment import environment
from tasks.core.errors import BadInput, PerpetuneError
from tasks.core.secrets import without_passwords
from tasks.model import base_source
from tasks.model.base_source import BaseRecord
from tasks.reproduce.results import FORMAT, Recipe, Source
from tasks.reproduce.source import PATCH, SOURCE, record_source
from tasks.settings import Settings
from tasks.tune.sweep import SweepResult
from tasks.tune.train import TrainingResult

RECIPE = "recipe.json"


@dataclass(frozen=True, slots=True)
class Made:
    """What a round has made, and of which data."""

    round: str
    swept: SweepResult
    sweep: Path
    """Folder of the search."""
    curated: Path
    """Folder of the curated data."""
    raw: str | None
    """DVC's hash of `data/`."""
    base: BaseRecord


def record_recipe(folder: Path, made: Made, settings: Settings) -> Path:
    """Write `recipe.json` beside what `record_source` wrote at the beginning of the round.

    Args:
        folder: of `record_source`; where that has not run, it runs now.
        made: by the round.
        settings: those of the round.

    Returns:
        The folder, to be registered whole.

    Raises:
        PerpetuneError: the best trial's folder is not whole.
    """
    if not (folder / SOURCE).is_file():
        record_source(folder, settings)
    best = made.swept.best
    trial = made.sweep / "trials" / str(best.number)
    metrics = trial / "metrics.json"
    result = TrainingResult.from_json(files.read_json(metrics), str(metrics))
    lanes = made.sweep / "lanes.json"
    recipe = Recipe(
        round=made.round,
        source=Source.from_json(files.read_json(folder / SOURCE), str(folder / SOURCE)),
        code=code_hashes(),
        settings=without_passwords(settings.plain()) | {"tune": best.tune},
        sweep=settings.tune.plain(),
        raw=made.raw,
        train=files.md5(made.curated / "train.jsonl"),
        validation=files.md5(made.curated / "validation.jsonl"),
        curated=str(made.curated.absolute()),
        base=made.base,
        converted=files.sha256s(base_source.locate(settings)) if made.base.gguf else {},
        trial=best.number,
        computed=result.computed,
        lanes=files.read_json(lanes) if lanes.is_file() else {},
        curve=tuple(files.read_jsonl(trial / "curve.jsonl")),
        adapter=files.sha256s(best.adapter),
        environment=environment(),
    )
    files.write_json(folder / RECIPE, recipe)
    return folder


def read_recipe(folder: Path) -> Recipe:
    """The recipe in `folder`, whose patch is the recorded one.

    Raises:
        BadInput: there is none, it is of another version of Perpetune, or the patch was changed.
    """
    path = folder / RECIPE
    if not path.is_file():
        raise BadInput(f"{folder}: no {RECIPE}, so that it is not known what to make again")
    content = files.read_json(path)
    form = content.get("format") if isinstance(content, dict) else None
    if form != FORMAT:
        raise BadInput(
            f"{path}: of format {form}, this version of Perpetune reads {FORMAT}; use "
            "the version that registered it"
        )
    try:
        recipe = Recipe.from_json(content, str(path))
    except PerpetuneError as error:
        raise BadInput(str(error)) from None
    _check_patch(folder / PATCH, recipe.source.patch_sha256)
    return recipe


def code_hashes(tasks: Path | None = None) -> dict[str, str]:
    """SHA-256 of the source of each package in a folder `tasks`; without one, in the running
    one."""
    folder = tasks or Path(__file__).parent.parent
    packages = sorted(path.parent for path in folder.glob("*/__init__.py"))
    return {package.name: source_hash(package) for package in packages}


def _check_patch(path: Path, recorded: str | None) -> None:
    if recorded is None:
        return
    if not path.is_file():
        raise BadInput(f"{path}: missing, though the round's code differed from its commit")
    if files.sha256(path) != recorded:
        raise BadInput(f"{path}: changed since it was registered; it is not applied")
