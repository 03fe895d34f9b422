"""What a round is made of, the key that names it, and where its version comes from."""

import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from flows.data import CuratedData
from tasks.core import files
from tasks.core.code_version import code_version
from tasks.core.errors import PerpetuneError
from tasks.core.locks import exclusive
from tasks.model import base_source
from tasks.model.base_source import BaseRecord
from tasks.records import expand
from tasks.registry import DatasetRef
from tasks.settings import Settings
from tasks.watch import Alarm

SECTIONS = ("base", "tune", "sweep", "evaluate")
"""Sections of the settings that, with the curated data, decide what a round gives."""
DVC_LOCK = Path("dvc.lock")
_PACKAGES = ("core", "records", "model", "tune", "evaluate")
"""Packages of `tasks` whose code does. What curation's code does is in the hashes of the data."""
_LIBRARIES = (
    *("accelerate", "bitsandbytes", "optuna", "peft", "safetensors", "tokenizers", "torch"),
    "transformers",
)


@dataclass(frozen=True)
class CodeState:
    """The commit that is checked out, and whether files of the repository differ from it."""

    commit: str | None
    """None where the project is in no git repository, or nothing is committed there."""
    dirty: bool
    """`dvc.lock` aside: `dvc repro` rewrites it, and it has a hash of its own."""


def code_state() -> CodeState:
    """The state of the repository around this folder; to be asked before a round writes files."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!dvc.lock")
    return CodeState(_git("rev-parse", "HEAD"), bool(changed))


@dataclass(frozen=True)
class RoundInputs:
    """What decides the outcome of a round, and why it runs."""

    settings: Settings
    data: CuratedData
    reason: str
    """For the reviewer; not in the key."""
    code: CodeState
    """As the round began."""
    alarms: tuple[Alarm, ...] = ()
    """Of the watch, which the round answers; not in the key."""

    @cached_property
    def key(self) -> str:
        """The round's name."""
        return round_key(self.settings, self.data)

    @property
    def folder(self) -> Path:
        """Where the round keeps its trials and its verdict."""
        return self.settings.project.model_dir / "rounds" / self.key

    @cached_property
    def base(self) -> BaseRecord:
        """The base model's files; reads all of their bytes."""
        return base_source.record(self.settings)

    @property
    def benchmarks(self) -> str:
        """The beginnings of the MD5 of the files that the candidate is judged on, the probe aside:
        by these, later rounds on one of them find this one."""
        paths = expand(self.settings.evaluate.benchmarks)
        return " ".join(sorted(files.md5(path)[:12] for path in paths))

    @property
    def recipe(self) -> Path:
        """What `perpetune reproduce` needs of the round; it is registered with its version."""
        return self.folder / "recipe"

    @property
    def datasets(self) -> list[DatasetRef]:
        """The curated splits as MLflow shows them: a digest is DVC's hash of the file."""
        splits: tuple[tuple[str, str, Literal["training", "validation"]], ...] = (
            ("train", self.data.train_hash, "training"),
            ("validation", self.data.validation_hash, "validation"),
        )
        return [
            DatasetRef(f"curated-{name}", str(self.data.folder / f"{name}.jsonl"), digest, context)
            for name, digest, context in splits
        ]

    def lineage(self) -> dict[str, str]:
        """Where the round's version comes from: code, data, settings, base and run, as tags."""
        from prefect.runtime import flow_run

        return {
            "git_commit": self.code.commit or "unknown",
            "git_dirty": str(self.code.dirty).lower(),
            "code_version": outcome_version(self.settings),
            "data_version": self.data.raw_version or "unversioned",
            "dvc_lock_sha256": files.sha256(DVC_LOCK) if DVC_LOCK.is_file() else "none",
            "train_hash": self.data.train_hash,
            "train_records": str(self.data.counts.kept.get("train", 0)),
            "validation_hash": self.data.validation_hash,
            "validation_records": str(self.data.counts.kept.get("validation", 0)),
            "benchmarks": self.benchmarks,
            "params_hash": files.content_key(self.settings.plain()),
            "base": base_source.identity(self.settings),
            "base_sha256": self.base.digest,
            "method": self.settings.tune.method.name,
            "seed": str(self.settings.project.seed),
            "prefect_flow_run": flow_run.id or "none",
            "alarms": " ".join(alarm.id for alarm in self.alarms) or "none",
        }


def round_key(settings: Settings, data: CuratedData) -> str:
    """What names a round: equal keys mean equal data, base, settings, benchmarks and code.

    Raises:
        BadInput: a benchmark or a plugin is missing.
    """
    plain = settings.plain()
    measured_on = [*settings.evaluate.benchmarks]
    if settings.evaluate.general_probe:
        measured_on.append(settings.evaluate.general_probe)
    return files.content_key(
        settings.project.name,
        settings.project.seed,
        base_source.identity(settings),
        {section: plain[section] for section in SECTIONS},
        [data.train_hash, data.validation_hash],
        {path.as_posix(): files.md5(path) for path in expand(measured_on)},
        outcome_version(settings),
    )


def outcome_version(settings: Settings) -> str:
    """The version of all code that decides what a round gives."""
    return code_version(_PACKAGES, settings.project.plugins, _LIBRARIES)


def only_round(settings: Settings) -> AbstractContextManager[None]:
    """One round of a model at a time works in a state folder; another one waits for it.

    Raises:
        PerpetuneError: after `platform.round_wait_minutes` another one still does.
    """
    state = settings.project.model_dir
    minutes = settings.platform.round_wait_minutes
    busy = f"another round is running in {state}: wait for it, or stop it, and run again"
    return exclusive(
        state / "round.lock",
        PerpetuneError(busy),
        seconds=60 * minutes,
        waiting=f"another round is running in {state}: waiting up to {minutes:g} minutes for it",
    )


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def no_round(settings: Settings) -> AbstractContextManager[None]:
    """Keep rounds of a model out for a moment, in which its data changes.

    Raises:
        PerpetuneError: one is running; nobody waits for it.
    """
    busy = f"a round is running in {settings.project.model_dir}"
    return exclusive(settings.project.model_dir / "round.lock", PerpetuneError(busy))
