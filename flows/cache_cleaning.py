"""Cleans DVC's cache, and keeps what registered versions were made of.

`dvc gc` keeps what commits and the present files name. A version may have been made from neither:
data that was recorded, used, and replaced before anybody committed. What each version names is
therefore written down as a DVC project of its own, which `dvc gc --projects` keeps as well.
"""

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.data import check_repository, dvc
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.registry import Registry
from tasks.settings import Settings, load_settings, models

log = logging.getLogger(__name__)


def clean_cache(settings: Settings, params: Path = Path("params.yaml")) -> str:
    """Remove from DVC's cache what no commit, no version of any model, and no present file needs.

    Returns:
        What was done, or why nothing, as a sentence.

    Raises:
        BadInput: this is a DVC project without git.
        PerpetuneError: a version cannot be read, so that nothing was removed; or DVC failed.
    """
    if not Path(".dvc").is_dir():
        return "nothing done: this is no DVC project"
    check_repository()
    cache = Path(".dvc/cache").resolve()
    if _configured_elsewhere():
        return "nothing done: DVC's cache is not below .dvc, and other projects may use it"
    before = _size(cache)
    kept = settings.project.state_dir.absolute() / "kept"
    with files.atomic_folder(kept) as folder:
        hashes = {name for each in _all_models(settings, params) for name in _named(each)}
        _write_project(folder, cache, sorted(hashes))
    dvc(
        *("gc", "--workspace", "--all-commits", "--all-experiments", "--force"),
        *("--projects", str(kept)),
        minutes=settings.platform.round_wait_minutes,
    )
    return f"{(before - _size(cache)) / 1e6:.1f} MB removed from DVC's cache"


def _all_models(settings: Settings, params: Path) -> Iterator[Settings]:
    yield settings
    for name in models(params):
        yield load_settings(params, [], name)


def _named(settings: Settings) -> Iterator[str]:
    """DVC's hashes of all data of a model's registered versions."""
    registry = Registry(settings)
    for number, version in registry.versions.state().versions.items():
        facts = version.registration.facts
        yield from (
            facts[name]
            for name in ("data_version", "train_hash", "validation_hash")
            if _is_hash(facts.get(name, ""))
        )
        try:
            lock = registry.versions.artifact(number, "dvc.lock")
        except BadInput:  # it was made outside of DVC, or is deleted
            continue
        yield from filter(_is_hash, _hashes(_read(lock)))


def _hashes(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if "md5" in value:
            yield value["md5"]
        for inner in value.values():
            yield from _hashes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _hashes(inner)


def _is_hash(value: Any) -> bool:
    text = value.removesuffix(".dir") if isinstance(value, str) else ""
    return len(text) == 32 and all(sign in "0123456789abcdef" for sign in text)


def _write_project(folder: Path, cache: Path, hashes: list[str]) -> None:
    """A DVC project whose files have these hashes, with the cache of another."""
    from ruamel.yaml import YAML

    (folder / ".dvc").mkdir(parents=True)
    # Without a repository, though an empty one, DVC refuses to ask for the commits of all projects.
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True, capture_output=True)
    config = f"[core]\n    analytics = false\n[cache]\n    dir = {cache}\n"
    files.write_text(folder / ".dvc/config", config)
    yaml = YAML(typ="safe")
    for number, name in enumerate(hashes):
        with (folder / f"{number}.dvc").open("w", encoding="utf-8") as file:
            yaml.dump({"outs": [{"md5": name, "hash": "md5", "path": str(number)}]}, file)


def _configured_elsewhere() -> bool:
    return any(
        path.is_file() and "[cache]" in path.read_text(encoding="utf-8", errors="replace")
        for path in (Path(".dvc/config"), Path(".dvc/config.local"))
    )


def _read(path: Path) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))
