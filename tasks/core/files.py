"""Files that are either whole or not there, and the hashes by which DVC knows them."""

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import IO, Any

import orjson

from tasks.core.errors import PerpetuneError


@contextmanager
def atomic_write(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Write beside `path` and rename over it at the end, so that a crash leaves the old file.

    Yields the open file. On any error the partial file is removed and the error goes on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding = None if "b" in mode else "utf-8"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new empty folder beside `path`; at the end it takes the place of `path`.

    Until then whatever stood at `path` stays whole. On any error the new folder is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial"))
    building.chmod(0o755)
    try:
        yield building
        if path.exists():
            old = building.with_suffix(".old")
            path.rename(old)
            building.rename(path)
            shutil.rmtree(old)
        else:
            building.rename(path)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())


def to_json(value: Any, **options: Any) -> str:
    """`value` as JSON that every reader takes: NaN and infinities become null.

    Whoever computes a figure that can be none says why beside it. Paths and times become text,
    NumPy's scalars numbers.

    Args:
        value: what JSON has a form for, and those.
        options: of `json.dumps`: `indent`, `sort_keys`, `ensure_ascii`.

    Raises:
        TypeError: there is something else in it.
    """
    try:
        return json.dumps(value, allow_nan=False, default=_plain, **options)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, default=_plain, **options)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, os.PathLike | date):
        return str(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"no JSON for {type(value).__name__}")


def _finite(value: Any) -> Any:
    if hasattr(value, "to_json"):
        value = value.to_json()
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    number = value.item() if hasattr(value, "item") else value
    return None if isinstance(number, float) and not math.isfinite(number) else value


def write_json(path: Path, value: Any, *, sort_keys: bool = True) -> None:
    """Write one JSON document, atomically: equal values give equal bytes.

    NaN and infinities become null.

    Args:
        path: the file.
        value: JSON-able types.
        sort_keys: False where the order of the keys is to be read again.
    """
    text = to_json(value, indent=2, sort_keys=sort_keys, ensure_ascii=False)
    try:
        write_text(path, text + "\n")
    except UnicodeEncodeError:  # halves of pairs have no form in UTF-8
        write_text(path, to_json(value, indent=2, sort_keys=sort_keys) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON document that this project wrote; NaN, of an older version, becomes null.

    Raises:
        PerpetuneError: it is no JSON.
    """
    return _parse(path.read_bytes(), str(path))


def _parse(data: bytes, place: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise PerpetuneError(
            f"{place}: damaged, or not a file that Perpetune wrote ({error}); remove it"
        ) from None


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line, atomically; returns the number of lines."""
    count = 0
    with atomic_write(path) as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file that this project wrote (users' files go through `tasks.records`).

    Raises:
        PerpetuneError: a line is no JSON.
    """
    with path.open("rb") as file:
        return [
            _parse(line, f"{path}:{number}") for number, line in enumerate(file, 1) if line.strip()
        ]


def md5(path: Path) -> str:
    """MD5 of a file's bytes in hex, the hash that DVC gives to a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256s(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under `folder`, by its POSIX path relative to it, sorted."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {name: sha256(path) for name, path in sorted(paths.items()) if path.is_file()}


def make_readable(path: Path) -> None:
    """Let every user of this machine read a file, or a folder and all in it, whatever the umask.

    What belongs to somebody else stays as it is.
    """
    for found in (path, *path.rglob("*")):
        with contextlib.suppress(PermissionError, FileNotFoundError):
            if not found.is_symlink():
                found.chmod(0o755 if found.is_dir() else 0o644)


def file_hashes(folder: Path) -> dict[str, str]:
    """MD5 of every file under `folder`, by its POSIX path relative to it, sorted by path parts."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): md5(path) for path in files}


def folder_hash(hashes: Mapping[str, str]) -> str:
    """The `….dir` hash that DVC gives to a folder of these files (`file_hashes`).

    DVC hashes the JSON listing of the folder's files, ordered by the parts of their paths.
    """
    order = sorted(hashes, key=lambda name: tuple(name.split("/")))
    listing = [{"md5": hashes[name], "relpath": name} for name in order]
    digest = hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False)
    return f"{digest.hexdigest()}.dir"


def dvc_hash(path: Path) -> str:
    """The hash that DVC gives to a file or a folder, computed without DVC."""
    return folder_hash(file_hashes(path)) if path.is_dir() else md5(path)


def content_key(*parts: Any) -> str:
    """Twelve hex digits that stand for these JSON-able values: equal values, equal key."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
