"""`perpetune curate` on a file larger than the memory it may use.

    python -m benchmarks.curation.memory                          # 1 GB under 700 MB
    python -m benchmarks.curation.memory --bytes 20e6 --limit 600e6

Plants a corpus of about so many bytes (the generator streams it, outside of the limit), then runs
the command with a hard limit on all its processes together, by the first of these that works: a
transient systemd scope, a control group of version 2 or 1 made for it (root), or none, which is
said. Prints what it took and how it ended, and exits as the command did.

Two peaks are told apart. Resident: what the processes hold, their sizes added up ten times a second
(pages that they share are counted for each, so it is an upper bound, but a short peak between two
looks is missed). Group: the kernel's own figure, which no peak escapes; it includes the cache of
files, which the kernel gives up before the limit is reached, so for files larger than the limit it
comes close to the limit whatever the processes hold.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.curation.command import curate_command
from benchmarks.curation.planted import plant

_GROUPS = Path("/sys/fs/cgroup")
_BYTES_A_RECORD = 1.05  # of its mean size in characters, with id and keys


@dataclass(frozen=True, slots=True)
class Fence:
    """A way to limit a command: what to write before it, and where the kernel tells the peak."""

    name: str
    prefix: tuple[str, ...] = ()
    peak: Path | None = None


def main() -> int:
    """Plant, run under the limit, print."""
    parser = argparse.ArgumentParser(description="Curation under a hard limit of memory.")
    parser.add_argument("--bytes", type=float, default=1e9)
    parser.add_argument("--limit", type=float, default=700e6, help="bytes")
    parser.add_argument("--kind", choices=["prose", "code", "pairs"], default="prose")
    parser.add_argument("--size", type=int, default=900, help="mean characters of a record")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--folder", type=Path, help="where the files go; needs 3 × --bytes")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="planted-", dir=given.folder) as scratch:
        planted = plant(
            Path(scratch),
            records=max(int(given.bytes / given.size / _BYTES_A_RECORD), 1500),
            kind=given.kind,
            seed=given.seed,
            size=given.size,
        )
        out = Path(scratch) / "curated"
        command = curate_command(planted.corpus, planted.benchmarks, out, given.set)
        with fence(int(given.limit)) as limited:
            result: dict[str, Any] = {
                "corpus_bytes": planted.corpus.stat().st_size,
                "limit_bytes": int(given.limit),
                "limited_by": limited.name,
            } | run(command, limited)
        if result["exit_code"] == 0:
            report = json.loads((out / "report.json").read_bytes())
            result |= {"in": report["in"], "kept": sum(report["kept"].values())}
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        print("| | |\n|---|---|")
        for name, value in result.items():
            print(f"| {name.removesuffix('_bytes').replace('_', ' ')} | {_shown(name, value)} |")
    code: int = result["exit_code"]
    return code if code >= 0 else 128 - code


def run(command: Sequence[str], limited: Fence) -> dict[str, Any]:
    """Run `command` behind the fence; seconds, peaks and the exit code (negative: a signal)."""
    began = time.perf_counter()
    process = psutil.Popen([*limited.prefix, *command], stdout=subprocess.DEVNULL)
    resident = 0
    while process.poll() is None:
        resident = max(resident, _resident(process))
        time.sleep(0.1)
    return {
        "exit_code": process.returncode,
        "seconds": round(time.perf_counter() - began, 1),
        "peak_resident_bytes": resident,
        "peak_group_bytes": int(limited.peak.read_text()) if limited.peak else None,
    }


@contextmanager
def fence(limit: int) -> Iterator[Fence]:
    """The first way that works here to hold a command and its children to `limit` bytes."""
    scope = _systemd(limit)
    if scope:
        yield scope
        return
    for version, root, files in (
        ("2", _GROUPS, ("memory.max", "memory.swap.max", "memory.peak")),
        (
            "1",
            _GROUPS / "memory",
            (
                "memory.limit_in_bytes",
                "memory.memsw.limit_in_bytes",
                "memory.max_usage_in_bytes",
            ),
        ),
    ):
        folder = root / f"curation-benchmark-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        bound, swap, peak = (folder / name for name in files)
        try:
            if bound.exists():
                bound.write_text(str(limit))
                if swap.exists():
                    swap.write_text("0" if version == "2" else str(limit))
                enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
                prefix = ("/bin/sh", "-c", enter, str(folder))
                yield Fence(f"control group, version {version}", prefix, peak)
                return
        finally:
            folder.rmdir()
    yield Fence("nothing: no limit could be set, the peak is only watched")


def _systemd(limit: int) -> Fence | None:
    if not shutil.which("systemd-run"):
        return None
    prefix = (
        "systemd-run",
        *(() if os.geteuid() == 0 else ("--user",)),
        "--scope",
        "--quiet",
        f"--property=MemoryMax={limit}",
        "--property=MemorySwapMax=0",
    )
    works = subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    return Fence("systemd scope", prefix) if works else None


def _resident(process: psutil.Process) -> int:
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "not told"
    return f"{value / 1e6:,.0f} MB" if name.endswith("_bytes") else str(value)


if __name__ == "__main__":
    sys.exit(main())
