"""The data of a version: curated again from the raw data, or found by its hash."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.reproduce.results import DataCheck, Recipe
from tasks.reproduce.worker import Worker

log = logging.getLogger(__name__)

_DATA, _POINTER = "data", "data.dvc"
_STAGE = "artifacts/curated"


@dataclass(frozen=True, slots=True)
class FoundData:
    """Curated data to train on, and where it came from."""

    folder: Path
    checks: tuple[DataCheck, ...]
    reason: str = ""
    """Why it could not be curated again, if so."""


def find_data(
    recipe: Recipe, worker: Worker, settings: Mapping[str, Any], cache: Path | None
) -> FoundData:
    """The curated data of a version.

    Raw data comes from DVC's cache, from its remote, or is collected again, and is curated by the
    recorded code. Where that does not give the recorded bytes, they are looked for by their hash.

    Args:
        recipe: with the hashes.
        worker: in the version's worktree.
        settings: those of the version.
        cache: DVC's cache of the project; None outside a DVC project.

    Raises:
        BadInput: the recorded bytes are nowhere; the message says where they were looked for.
    """
    raw, reason = _raw_data(recipe, worker, settings, cache)
    wanted = {"train.jsonl": recipe.train, "validation.jsonl": recipe.validation}
    found: dict[str, str] = {}
    again = worker.scratch / "curated"
    if not reason:
        shutil.rmtree(again, ignore_errors=True)
        try:
            log.info("curating the data again")
            worker.perpetune("curate", "--out", str(again.absolute()), settings=settings)
        except PerpetuneError as error:
            reason = str(error)
        else:
            found = {name: files.md5(again / name) for name in wanted}
    if found == wanted:
        checks = [_check(name, wanted, found[name], "curated again") for name in wanted]
        return FoundData(again, (*raw, *checks))
    folder = worker.scratch / "by-hash"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    checks = []
    for name, digest in wanted.items():
        place = _by_hash(name, digest, recipe, worker, cache, folder)
        if place is None:
            raise BadInput(_nowhere(name, digest, recipe, cache, reason))
        if found:
            how = f"curated again, it is other data; trained on the recorded bytes from {place}"
            checks.append(_check(name, wanted, found[name], how))
        else:
            checks.append(_check(name, wanted, digest, f"by its hash, from {place}"))
    return FoundData(folder, (*raw, *checks), reason)


def dvc_cache(project: Path) -> Path | None:
    """The folder of DVC's cache of a project; None where it has no DVC."""
    if not (project / ".dvc").is_dir():
        return None
    done = subprocess.run(
        [sys.executable, "-P", "-m", "dvc", "cache", "dir"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return None
    return (project / done.stdout.strip()).resolve()


def share_cache(worker: Worker, project: Path, cache: Path) -> None:
    """Let DVC in the worktree use the cache and the remotes of the project."""
    there = worker.project / ".dvc"
    local = project / ".dvc" / "config.local"
    if local.is_file():
        shutil.copyfile(local, there / "config.local")
    cache.mkdir(parents=True, exist_ok=True)  # in a new clone there is none yet
    (there / "cache").symlink_to(cache, target_is_directory=True)
    if cache != (project / ".dvc" / "cache").resolve():
        # Its own config names another place. DVC writes paths in ASCII only, so not that one.
        worker.dvc("cache", "dir", "--local", str(Path(".dvc") / "cache"))


def _raw_data(
    recipe: Recipe, worker: Worker, settings: Mapping[str, Any], cache: Path | None
) -> tuple[list[DataCheck], str]:
    """Bring `data/` in place; what it is, and why it cannot be curated, if so."""
    if recipe.raw is None:
        return [], ""
    if not (worker.project / _POINTER).is_file():
        return [], f"the commit has no {_POINTER}"
    how = "from DVC's cache"
    if cache is None or not _in_cache(cache, recipe.raw).is_file():
        how = "collected again"
        if cache is not None and worker.dvc("fetch", "--quiet", _POINTER):
            # Without a remote DVC fetches nothing, and calls that a success.
            how = "from the DVC remote" if _in_cache(cache, recipe.raw).is_file() else how
    log.info("bringing the raw data in place")
    try:
        worker.perpetune("collect", settings=settings)
    except PerpetuneError as error:
        return [_check("data", {"data": recipe.raw}, None, "not found")], str(error)
    version = files.dvc_hash(worker.project / _DATA)
    reason = "" if version == recipe.raw else f"{_POINTER} of the commit names other data"
    return [_check("data", {"data": recipe.raw}, version, how)], reason


def _by_hash(
    name: str, digest: str, recipe: Recipe, worker: Worker, cache: Path | None, into: Path
) -> str | None:
    """Copy a curated file into a folder; the place where it was found, or None."""
    for place, path in _places(name, digest, recipe, worker, cache):
        if path.is_file() and files.md5(path) == digest:
            shutil.copyfile(path, into / name)
            return place
    return None


def _places(
    name: str, digest: str, recipe: Recipe, worker: Worker, cache: Path | None
) -> Iterator[tuple[str, Path]]:
    yield "the round's folder", Path(recipe.curated) / name
    if cache is not None:
        yield "DVC's cache", _in_cache(cache, digest)
        worker.dvc("fetch", "--quiet", f"{_STAGE}/{name}")
        yield "the DVC remote", _in_cache(cache, digest)


def _in_cache(cache: Path, digest: str) -> Path:
    return cache / "files" / "md5" / digest[:2] / digest[2:]


def _check(name: str, wanted: Mapping[str, str], found: str | None, how: str) -> DataCheck:
    return DataCheck(name=name, recorded=wanted[name], found=found, how=how)


def _nowhere(name: str, digest: str, recipe: Recipe, cache: Path | None, reason: str) -> str:
    looked = [recipe.curated, *([f"DVC's cache {cache}", "its remote"] if cache else [])]
    why = f" ({reason})" if reason else ""
    return (
        f"{name} of this version (MD5 {digest}) is not to be had: curating the recorded raw data "
        f"again did not give it{why}, and it is not in {', '.join(looked)}; bring the raw data "
        "back with `dvc pull data.dvc`, or `dvc push` the data in the clone that trained the "
        "version and `dvc fetch` it here"
    )
