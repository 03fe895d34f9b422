"""A user's own data: files and hub data sets, checked, then copied into the data folder."""

import logging
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import orjson
from tqdm import tqdm

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput

log = logging.getLogger(__name__)

Role = Literal["train", "benchmarks", "traffic"]
_HUB = "hub:"
_BAD_LINES_SHOWN = 3


def collect_files(
    inputs: list[str], out: Path, role: Role, *, add: bool = False, split: str = "train"
) -> Path:
    """Copy a user's own data into `out`/`role` and return that folder.

    Every file is read first and copied byte for byte: lines that are no records are reported here
    and dropped, with their reasons, by the curation. The folder is replaced as a whole.

    Args:
        inputs: files, folders and globs of any format that `tasks.records` reads, or
            `hub:OWNER/NAME` and `hub:OWNER/NAME:CONFIG` (also `hub:FOLDER`), loaded by `datasets`,
            which runs no code of theirs; these become JSONL.
        out: the data folder.
        role: what the data is for. Only traffic may come without answers.
        add: keep the files that are there already.
        split: split of hub data.

    Raises:
        BadInput: an input does not exist, cannot be read, holds no good record, or has the name
            of another one. The folder then stays as it was.
    """
    if not inputs:
        raise BadInput("collect: name at least one file, folder, glob or hub:OWNER/NAME")
    local = records.expand(spec for spec in inputs if not spec.startswith(_HUB))
    hub = [spec for spec in inputs if spec.startswith(_HUB)]
    folder = out / role
    kept = sorted(folder.iterdir()) if add and folder.is_dir() else []
    named = [(path.name, str(path)) for path in kept]
    named += [(_name(path), str(path)) for path in local]
    _refuse_clashes([*named, *((_hub_name(spec, split), spec) for spec in hub)])
    labelled = role != "traffic"
    with files.atomic_folder(folder) as building:
        for path in kept:
            _copy(path, building / path.name)
        for path in tqdm(local, desc="collect", unit="file", disable=None, file=sys.stderr):
            _check(path, str(path), labelled)
            _copy(path, building / _name(path))
        for spec in hub:
            path = building / _hub_name(spec, split)
            files.write_jsonl(path, _hub_rows(spec, split))
            _check(path, spec, labelled)
    return folder


def _name(path: Path) -> str:
    """The name under which a file is kept; tables of `datasets` have the same in every folder."""
    saved = path.suffix == ".arrow" and (path.parent / "state.json").is_file()
    return f"{path.parent.name}-{path.name}" if saved else path.name


def _refuse_clashes(named: Iterable[tuple[str, str]]) -> None:
    seen: dict[str, str] = {}
    for name, shown in named:
        # Names that differ in case only are one file on some file systems.
        key = name.lower()
        if key in seen:
            raise BadInput(
                f"{shown}: {seen[key]} has the same name ({name}), by which the data folder keeps "
                "it; rename one of them"
            )
        seen[key] = shown


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        with source.open("rb") as read, target.open("wb") as write:
            shutil.copyfileobj(read, write)


def _check(path: Path, shown: str, labelled: bool) -> None:
    good = 0
    bad: list[str] = []
    for item in records.read(path, labelled=labelled):
        if isinstance(item, records.Record):
            good += 1
        else:
            bad.append(f"{shown}:{item.line}: {item.reason}: {item.detail}")
    if good == 0:
        raise BadInput(f"{bad[0]}; none of its {len(bad)} lines is a record")
    for line in bad[:_BAD_LINES_SHOWN]:
        log.warning("%s", line)
    log.info("%s: %d records, %d bad lines", shown, good, len(bad))


def _hub_name(spec: str, split: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{spec.removeprefix(_HUB)}-{split}")
    return f"{plain.strip('.-')}.jsonl"


def _hub_rows(spec: str, split: str) -> Iterator[dict[str, Any]]:
    from datasets import Dataset, load_dataset

    path, _, config = spec.removeprefix(_HUB).partition(":")
    try:
        loaded = load_dataset(path, name=config or None, split=split, streaming=False)
    # Hub, network, file system, format: each of the libraries below has errors of its own.
    except Exception as error:
        raise BadInput(
            f"{spec}: cannot be loaded: {type(error).__name__}: {error}; check the name, the split "
            f"({split}), the network, and HF_TOKEN for gated data"
        ) from error
    if not isinstance(loaded, Dataset):
        raise BadInput(f"{spec}: split {split!r} gives several splits; name one")
    for number, row in enumerate(loaded, start=1):
        try:
            yield orjson.loads(orjson.dumps(row))
        except TypeError as error:
            raise BadInput(f"{spec}:{number}: holds what JSON cannot: {error}") from None
