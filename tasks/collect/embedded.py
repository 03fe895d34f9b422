"""The embedded default: summaries of functions in pinned packages, the same bytes everywhere."""

import logging
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tasks.collect.docstrings import Function, functions, version
from tasks.collect.settings import Collect
from tasks.core import files
from tasks.core.errors import BadInput
from tasks.core.order import order_key
from tasks.settings import Settings

log = logging.getLogger(__name__)

SYSTEM = "Summarise the Python function in one line."
GENERAL_PROBE = Path(__file__).parent / "general_probe.jsonl"
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*==\s*([^\s;\\#]+)")

Row = Mapping[str, Any]


def collect_embedded(settings: Settings, out: Path) -> dict[str, str]:
    """Build the embedded default at `out`, atomically, and return the MD5 of each file.

    From the same versions of the packages come the same bytes, whatever the machine or the Python
    version: train/docstrings.jsonl, benchmarks/heldout.jsonl, general_probe.jsonl and
    traffic/window-N.jsonl, the last window from packages that nothing else is taken from. The
    other windows are drawn by hash from the same population as the training source, record by
    record, so that they differ from it by chance only; no record is in both.

    Raises:
        BadInput: a package is not installed, is not the version that `requirements.lock` in the
            working folder pins, was changed, or gives too few functions; or `out` holds files
            that the default would not replace but delete.
    """
    _refuse_foreign_files(out, settings.collect)
    with files.atomic_folder(out) as building:
        build(settings, building)
        hashes = files.file_hashes(building)
    log.info("collected %d files into %s", len(hashes), out)
    return hashes


def build(settings: Settings, folder: Path) -> None:
    """Write the embedded default into an empty folder; errors as in `collect_embedded`."""
    collect = settings.collect
    packages = [*collect.train_packages, *collect.heldout_packages, *collect.drift_packages]
    _check_pins(packages, Path("requirements.lock"))
    with tqdm(packages, desc="collect", unit="package", disable=None, file=sys.stderr) as progress:
        found = {package: functions(package) for package in progress}

    def choose(names: Iterable[str]) -> list[Row]:
        return _choose({name: found[name] for name in names}, collect)

    train = choose(collect.train_packages)
    reserved = collect.windows * collect.window_size
    _require("window_size and windows", collect.train_packages, len(train), reserved + 1)
    train.sort(key=lambda row: _order("traffic", row["id"]))
    drifted = choose(collect.drift_packages)
    _require(
        "drifted_window_size", collect.drift_packages, len(drifted), collect.drifted_window_size
    )
    drifted.sort(key=lambda row: _order("traffic", row["id"]))
    heldout = choose(collect.heldout_packages)
    _require("heldout_packages", collect.heldout_packages, len(heldout), 1)

    windows = [
        train[start : start + collect.window_size]
        for start in range(0, reserved, collect.window_size)
    ]
    windows.append(drifted[: collect.drifted_window_size])
    _write(folder / "train" / "docstrings.jsonl", train[reserved:])
    _write(folder / "benchmarks" / "heldout.jsonl", heldout)
    for name, window in zip(_window_names(collect), windows, strict=True):
        _write(folder / name, window)
    shutil.copyfile(GENERAL_PROBE, folder / GENERAL_PROBE.name)


def names(collect: Collect) -> set[str]:
    """Paths of the files that make up the embedded default."""
    return {
        "train/docstrings.jsonl",
        "benchmarks/heldout.jsonl",
        GENERAL_PROBE.name,
        *_window_names(collect),
    }


def _window_names(collect: Collect) -> list[str]:
    # Windows are taken in the order of their names, so numbers are padded.
    width = len(str(collect.windows + 1))
    return [f"traffic/window-{number:0{width}}.jsonl" for number in range(1, collect.windows + 2)]


def _refuse_foreign_files(out: Path, collect: Collect) -> None:
    present = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    foreign = sorted(present - names(collect))
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise BadInput(
            f"{out}: holds {', '.join(foreign[:3])}{more}, which collecting the embedded default "
            f"would delete; move {out} away or remove it, then collect again"
        )


def _check_pins(packages: Iterable[str], lock: Path) -> None:
    if not lock.is_file():
        return
    pins = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        pin = _PIN.match(line)
        if pin:
            pins[_normal(pin[1])] = pin[2]
    for package in packages:
        wanted, installed = pins.get(_normal(package)), version(package)
        if wanted not in (None, installed):
            raise BadInput(
                f"collect: {package} {installed} is installed, {lock} pins {wanted}, and other "
                "versions give other data; run `make setup`"
            )


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def _choose(found: Mapping[str, list[Function]], collect: Collect) -> list[Row]:
    """Records of these packages without repetition, drawn by hash, up to the limits."""
    chosen: list[Row] = []
    prompts: set[str] = set()
    completions: Counter[str] = Counter()
    for package, candidates in found.items():
        meta = {"package": package, "version": version(package)}
        taken = 0
        for function in sorted(candidates, key=lambda function: _order("collect", function.id)):
            prompt = f"{function.module}\n{function.signature}"
            if (
                taken == collect.max_per_package
                or prompt in prompts
                or completions[function.summary] == collect.max_same_completion
            ):
                continue
            taken += 1
            prompts.add(prompt)
            completions[function.summary] += 1
            chosen.append(_row(function, prompt, meta))
        log.info("%s: %d of %d documented functions", package, taken, len(candidates))
    return chosen


def _row(function: Function, prompt: str, meta: Row) -> Row:
    return {
        "id": function.id,
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": function.summary},
        ],
        "group": function.group,
        "meta": meta,
    }


def _order(purpose: str, identity: str) -> bytes:
    """An order that looks random and is equal everywhere, another one for each purpose."""
    return order_key(f"{purpose}\0{identity}")


def _require(key: str, packages: list[str], found: int, wanted: int) -> None:
    if found < wanted:
        raise BadInput(
            f"collect.{key}: {', '.join(packages) or 'no package'} gave {found} records, at least "
            f"{wanted} are needed; name more packages or ask for fewer records"
        )


def _write(path: Path, rows: Iterable[Row]) -> None:
    files.write_jsonl(path, sorted(rows, key=lambda row: row["id"]))
