"""What curation writes: it replaces its own files only, and never reads them as input.

`report.json` holds the hash of every file that was written with it. A file of the same name with
another hash is somebody else's, or was changed since, and stops the run.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from tasks import records
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.curate.results import CurationReport
from tasks.records import RemotePath
from tasks.rendering.markdown import visible

log = logging.getLogger(__name__)

REPORT = "report.json"
OUTPUTS = (
    "train.jsonl",
    "validation.jsonl",
    "test.jsonl",
    "dropped.jsonl",
    "report.html",
    "data_card.md",
    REPORT,
)
_JOURNAL = "published.json"


def to_read(specs: Iterable[str], out: Path) -> list[Path]:
    """The files behind `specs`, sorted, without what curation wrote into `out`.

    Raises:
        BadInput: as `records.expand`; or an output is named as an input.
    """
    found: dict[Path, None] = {}
    ours = {(out / name).resolve() for name in OUTPUTS}
    for spec in specs:
        for path in records.expand([spec]):
            if isinstance(path, RemotePath) or path.resolve() not in ours:
                found[path] = None
            elif Path(spec).is_file():
                raise BadInput(
                    f"{visible(str(path))}: is read, and would be overwritten by this curation's "
                    f"{path.name}; choose another --out"
                )
            else:
                log.info("%s: is left out: it is an output of this curation", path)
    return sorted(found, key=str)


def check(out: Path, building: Path) -> None:
    """See that nothing in `out` would be overwritten that curation did not write.

    Args:
        out: the folder of the outputs.
        building: where a run that was killed has left its journal.

    Raises:
        BadInput: a file has the name of an output and is none.
    """
    known = _known(out, building)
    for name in OUTPUTS:
        path = out / name
        if not path.exists() and not path.is_symlink():
            continue
        if name == REPORT:
            if _written(path) is None:
                raise BadInput(f"{_not_ours(path)}")
        elif not path.is_file() or _hash(path) not in known.get(name, ()):
            raise BadInput(_not_ours(path))


def forget(building: Path) -> None:
    """Remove what a run that was killed has left in `building`, all but its journal."""
    if not building.is_dir():
        return
    for path in building.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _JOURNAL:
            path.unlink()


def publish(building: Path, out: Path, report: CurationReport) -> CurationReport:
    """Put the files of `building` into `out`, the report last, with the hashes of the others.

    A run that is killed in between leaves a journal in `building`, by which the next one knows
    that these files are its own.

    Returns:
        The report with the hashes.
    """
    names = [name for name in OUTPUTS if name != REPORT]
    hashes = {name: _hash(building / name) for name in names}
    known = {name: [*found] for name, found in _known(out, building).items()}
    for name, value in hashes.items():
        known.setdefault(name, []).append(value)
    files.write_json(building / _JOURNAL, known)
    report = report.with_outputs(hashes)
    files.write_json(building / REPORT, report.to_json())
    (out / REPORT).unlink(missing_ok=True)
    for name in (*names, REPORT):
        (building / name).replace(out / name)
    (building / _JOURNAL).unlink()
    return report


def _known(out: Path, building: Path) -> dict[str, set[str]]:
    """Hashes of what curation has written into `out`, by name."""
    known = {name: {value} for name, value in (_written(out / REPORT) or {}).items()}
    journal = building / _JOURNAL
    if journal.is_file():
        for name, values in files.read_json(journal).items():
            known.setdefault(name, set()).update(values)
    return known


def _written(report: Path) -> Mapping[str, str] | None:
    """The hashes that a report of curation holds; None for any other file."""
    try:
        value = json.loads(report.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict) or not {"in", "kept", "dropped", "outputs"} <= value.keys():
        return None
    found = value["outputs"]
    return found if isinstance(found, dict) else None


def _not_ours(path: Path) -> str:
    return (
        f"{visible(str(path))}: exists, and was not written by curation or was changed since; move "
        "it away, or choose another --out"
    )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
