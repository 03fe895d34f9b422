"""`data.dvc`, the pointer to the data: what was recorded, compared with what is there."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.collect import embedded
from tasks.core import files
from tasks.core.errors import BadInput, PerpetuneError
from tasks.settings import Settings

log = logging.getLogger(__name__)

_NAMES_SHOWN = 5
# In every set of data that began as the embedded default.
_DEFAULT_FILE = "train/docstrings.jsonl"


def recorded_version(pointer: Path) -> str | None:
    """The recorded hash of the data folder (`….dir`, as DVC computes it); None without a pointer.

    Raises:
        BadInput: the pointer is no file that `dvc add` wrote.
    """
    return _version(_read(pointer), pointer) if pointer.is_file() else None


def write_pointer(data: Path, pointer: Path) -> None:
    """Take the data as it is: `dvc add`, then each file's MD5 under `meta: files:` of the pointer.

    DVC keeps only the hash of the whole folder there; the files' hashes let `verify_data` name what
    differs in a clone that has no DVC cache.

    Raises:
        BadInput: there is no data, or `pointer` is not the file beside it that DVC writes.
        PerpetuneError: `dvc add` failed.
    """
    if not data.is_dir() or not any(path.is_file() for path in data.rglob("*")):
        raise BadInput(f"{data}: no data to record; run `perpetune collect` first")
    if pointer.resolve() != data.resolve().with_name(f"{data.name}.dvc"):
        raise BadInput(f"{pointer}: DVC keeps the pointer to {data} beside it, in {data.name}.dvc")
    done = _dvc(["add", "--quiet", data.name], data.resolve().parent)
    if done.returncode != 0:
        raise PerpetuneError(
            f"`dvc add {data}` failed: {_last_line(done)}; in a new project run `dvc init` first"
        )
    content = _read(pointer)
    hashes = files.file_hashes(data)
    if _version(content, pointer) != files.folder_hash(hashes):
        raise PerpetuneError(
            f"{data}: DVC counts other files than are there: the data changed meanwhile, or a "
            "pattern in .dvcignore leaves files out; correct that, then record it again"
        )
    meta = content.get("meta")
    content["meta"] = {**(meta if isinstance(meta, Mapping) else {}), "files": hashes}
    with files.atomic_write(pointer) as file:
        _yaml().dump(content, file)
    log.info("recorded %s: %d files, %s", data, len(hashes), _version(content, pointer))


def record_traffic(data: Path, pointer: Path, traffic: str) -> bool:
    """Record the data anew where windows of traffic are all that came, went or changed.

    Traffic grows by itself; no step is trained on it, and no round must fail of it.

    Args:
        data: the data folder.
        pointer: the pointer to it.
        traffic: the folder of windows; nothing is done where it is not inside the data.

    Returns:
        Whether there was something to record.

    Raises:
        BadInput, PerpetuneError: as `write_pointer`, for traffic that changes just then.
    """
    place = Path(traffic).resolve()
    if not (pointer.is_file() and data.is_dir() and data.resolve() in place.parents):
        return False
    content = _read(pointer)
    known = _known_files(content, _version(content, pointer))
    hashes = files.file_hashes(data)
    if known is None or hashes == known:
        return False
    below = f"{place.relative_to(data.resolve()).as_posix()}/"
    changed = [name for name in {*hashes, *known} if hashes.get(name) != known.get(name)]
    if not all(name.startswith(below) for name in changed):
        return False
    log.info("%d windows of traffic are new or changed: recording %s", len(changed), data)
    write_pointer(data, pointer)
    return True


def verify_data(data: Path, pointer: Path) -> dict[str, str]:
    """Compare the data with its pointer and return the MD5 of each file.

    Raises:
        BadInput: the data or the pointer is missing, or the pointer is malformed.
        PerpetuneError: the data differs; the message names the files, where the pointer knows
            them, and the ways out.
    """
    content = _recorded(pointer)
    if not data.is_dir():
        raise BadInput(f"{data}: no such folder; run `perpetune collect`, or `dvc pull` own data")
    hashes = files.file_hashes(data)
    _compare(hashes, content, data, pointer)
    return hashes


def ensure_data(settings: Settings, data: Path, pointer: Path) -> dict[str, str]:
    """See that the recorded data is in place, and return the MD5 of each file.

    Data that is there is verified. Where there is none, it comes from DVC's cache, or else the
    embedded default is built and must be what the pointer records. Inside a DVC stage the cache is
    left alone, for DVC holds its lock.

    Raises:
        BadInput, PerpetuneError: as `verify_data` and `collect_embedded`; nothing is left at
            `data`.
    """
    content = _recorded(pointer)
    if any(data.rglob("*")) or _check_out(data, pointer, _version(content, pointer)):
        return verify_data(data, pointer)
    with files.atomic_folder(data) as building:
        embedded.build(settings, building)
        hashes = files.file_hashes(building)
        _compare(hashes, content, data, pointer, built=True)
    log.info("built the embedded default in %s", data)
    return hashes


def _recorded(pointer: Path) -> dict[str, Any]:
    if not pointer.is_file():
        raise BadInput(f"{pointer}: no such file; `perpetune collect --record` writes it")
    return _read(pointer)


def _compare(
    hashes: Mapping[str, str],
    content: Mapping[str, Any],
    data: Path,
    pointer: Path,
    built: bool = False,
) -> None:
    """Raise unless these files are the recorded ones; `built`: they are the default, built anew."""
    wanted, found = _version(content, pointer), files.folder_hash(hashes)
    if found == wanted:
        return
    known = _known_files(content, wanted)
    difference = (
        f"is {found}, recorded is {wanted}" if known is None else _differences(hashes, known)
    )
    accept = "or accept {} with `perpetune collect --record`"
    if built and (known is None or set(known) - set(hashes)):
        raise PerpetuneError(
            f"{data} is not here, and {pointer} records other data than the embedded default "
            f"({difference}); fetch it with `dvc pull {pointer.name}`, "
            + accept.format("the default instead")
        )
    subject = str(data)
    if built:
        subject = "the embedded default, built here,"
        remedy = "reinstall the pinned packages (`make setup`), restore `collect` in params.yaml"
    elif _DEFAULT_FILE in (known or hashes):
        remedy = f"reinstall the pinned packages (`make setup`), remove {data} and collect again"
    else:
        remedy = f"go back with `dvc checkout {pointer.name}` or `dvc pull {pointer.name}`"
    raise PerpetuneError(
        f"{subject} differs from {pointer}: {difference}; {remedy}, "
        + accept.format("the data as it is")
    )


def _differences(hashes: Mapping[str, str], known: Mapping[str, str]) -> str:
    groups = {
        "changed": [name for name in known if name in hashes and hashes[name] != known[name]],
        "missing": [name for name in known if name not in hashes],
        "extra": [name for name in hashes if name not in known],
    }
    parts = []
    for what, found in groups.items():
        if found:
            more = f" and {len(found) - _NAMES_SHOWN} more" if len(found) > _NAMES_SHOWN else ""
            parts.append(f"{what}: {', '.join(sorted(found)[:_NAMES_SHOWN])}{more}")
    return "; ".join(parts)


def _known_files(content: Mapping[str, Any], version: str) -> dict[str, str] | None:
    """The recorded hash of each file, if it belongs to the recorded version of the folder.

    `dvc add` run by hand moves the version on and leaves the files' hashes behind.
    """
    meta = content.get("meta")
    known = meta.get("files") if isinstance(meta, Mapping) else None
    if not isinstance(known, Mapping):
        return None
    plain = {str(name): str(value) for name, value in known.items()}
    return plain if files.folder_hash(plain) == version else None


def _check_out(data: Path, pointer: Path, version: str) -> bool:
    """Bring the data back from DVC's cache, if it is there whole; else leave nothing behind."""
    root = pointer.resolve().parent
    if os.environ.get("DVC_STAGE") or not (root / ".dvc").is_dir():
        return False
    done = _dvc(["checkout", "--quiet", pointer.name], root)
    if done.returncode == 0 and data.is_dir() and files.dvc_hash(data) == version:
        log.info("brought %s back from DVC's cache", data)
        return True
    reason = _last_line(done)
    log.info("DVC's cache does not hold all of %s%s", data, f": {reason}" if reason else "")
    shutil.rmtree(data, ignore_errors=True)
    return False


def _dvc(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        # -P: a folder named dvc in the project is not taken for the program.
        [sys.executable, "-P", "-m", "dvc", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("ERROR")), "".join(lines[-1:]))


def _version(content: Mapping[str, Any], pointer: Path) -> str:
    outs = content.get("outs")
    first = outs[0] if isinstance(outs, list) and outs else None
    version = first.get("md5") if isinstance(first, Mapping) else None
    if not isinstance(version, str) or not version.endswith(".dir"):
        raise BadInput(
            f"{pointer}: no pointer to a folder as `dvc add` writes it (outs: - md5: ….dir); "
            "restore it from git, or write it anew with `perpetune collect --record`"
        )
    return version


def _read(pointer: Path) -> dict[str, Any]:
    from ruamel.yaml.error import YAMLError

    try:
        content = _yaml().load(pointer.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{pointer}:{mark.line + 1}" if mark else str(pointer)
        reason = getattr(error, "problem", None) or error
        raise BadInput(f"{where}: cannot be read: {reason}; restore it from git") from None
    if not isinstance(content, dict):
        raise BadInput(f"{pointer}: not a DVC file; restore it from git")
    return content


def _yaml() -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="rt")
