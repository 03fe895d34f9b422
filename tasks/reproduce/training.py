"""The training of a version, again: its trial alone, or the search that it was chosen in."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tasks.core import files
from tasks.reproduce.base import base_section
from tasks.reproduce.results import Recipe
from tasks.reproduce.worker import Worker
from tasks.tune.train import Conditions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trained:
    """What was trained again."""

    how: Literal["trial", "sweep"]
    adapter: Path
    curve: tuple[dict[str, Any], ...]
    computed: tuple[Conditions, ...]


def is_alone(recipe: Recipe) -> bool:
    """Whether the trial gives equal bits when it is trained alone.

    It does where it shared no pass, and on a CPU: there a product's rows do not depend on how many
    others are in it (measured for the default base in bfloat16, and in float32). On an
    accelerator kernels are chosen by the size of a product, so that the whole search has to run.
    """
    return all(item.adapters == 1 or item.device == "cpu" for item in recipe.computed)


def variables(recipe: Recipe) -> dict[str, str]:
    """The recorded variables of numeric libraries, with the number of threads that computed."""
    found = dict(recipe.environment.variables)
    found.pop("CUDA_VISIBLE_DEVICES", None)  # devices have other numbers elsewhere
    if recipe.computed:
        threads = str(recipe.computed[-1].threads)
        found |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return found


def train_again(
    recipe: Recipe, worker: Worker, settings: Mapping[str, Any], data: Path, out: Path
) -> Trained:
    """Train what the recipe says, with the code in the worktree.

    Args:
        recipe: of the version.
        worker: in its worktree.
        settings: the recipe's, with a state folder of their own.
        data: the curated data.
        out: folder of the run; an interrupted one goes on.

    Raises:
        BadInput, PerpetuneError: the training failed in that way.
    """
    settings = {**settings, "base": base_section(recipe)}
    places = ("--data", str(data.absolute()), "--out", str(out.absolute()))
    if is_alone(recipe):
        log.info("training trial %d again, alone", recipe.trial)
        worker.perpetune("train", *places, settings=settings)
        return _trained("trial", out)
    log.info("running the search again: its trials shared passes on an accelerator")
    if recipe.lanes:
        files.write_json(out / "lanes.json", recipe.lanes)
    worker.perpetune("sweep", *places, settings={**settings, "tune": recipe.sweep})
    return _trained("sweep", out / "trials" / str(recipe.trial))


def _trained(how: Literal["trial", "sweep"], folder: Path) -> Trained:
    metrics = files.read_json(folder / "metrics.json")
    return Trained(
        how=how,
        adapter=folder / "best",
        curve=tuple(files.read_jsonl(folder / "curve.jsonl")),
        computed=tuple(map(Conditions.from_json, metrics.get("computed", ()))),
    )
