"""Whether DVC would run a stage, without starting DVC.

`dvc repro` takes seconds to say that nothing has changed. For a stage whose dependencies and
outputs are files, `dvc.lock` says it at once: the command, the settings and the MD5 of every file
are those of the last run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core import files

LOCK = Path("dvc.lock")


def up_to_date(*stages: str) -> bool:
    """Whether DVC would run none of these stages; False where only DVC can tell."""
    try:
        pipeline, lock = _read(Path("dvc.yaml")), _read(LOCK)
        return all(_as_locked(pipeline["stages"][name], lock["stages"][name]) for name in stages)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _as_locked(stage: Mapping[str, Any], lock: Mapping[str, Any]) -> bool:
    if not set(stage) <= {"cmd", "desc", "deps", "params", "outs", "metrics"}:
        return False
    outputs = [*stage.get("outs", ()), *stage.get("metrics", ())]
    return (
        " ".join(stage["cmd"].split()) == " ".join(lock["cmd"].split())
        and _same_files(stage.get("deps", ()), lock.get("deps", ()))
        and _same_files(outputs, lock.get("outs", ()))
        and _same_settings(stage.get("params", ()), lock.get("params", {}))
    )


def _same_files(named: Any, locked: Any) -> bool:
    # An entry with options of its own is a mapping, of one name.
    names = {name if isinstance(name, str) else next(iter(name)) for name in named}
    return names == {entry["path"] for entry in locked} and all(
        entry["hash"] == "md5" and files.md5(Path(entry["path"])) == entry["md5"]
        for entry in locked
    )


def _same_settings(named: Any, locked: Mapping[str, Any]) -> bool:
    if not named:
        return not locked
    (known,) = locked.values()
    (written,) = locked
    settings = _read(Path(written))
    return set(named) == set(known) and all(
        _value(settings, name) == value for name, value in known.items()
    )


def _value(settings: Any, name: str) -> Any:
    for key in name.split("."):
        settings = settings[key]
    return settings


def _read(path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise ValueError(str(error)) from error
