"""Curate: the way of all records, from files to files."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from tasks.core.errors import BadInput, PerpetuneError
from tasks.curate.reasons import explain
from tasks.curate.report.report import write_report
from tasks.curate.run import engine, outputs
from tasks.curate.run.global_steps import decide
from tasks.curate.run.reading import input_chunks, no_record
from tasks.curate.run.shards import Parts
from tasks.curate.run.worker import Plan, Sifter, Task
from tasks.curate.run.writer import Assembled, assemble
from tasks.curate.steps.contamination.benchmarks import read_benchmarks
from tasks.curate.steps.contamination.contamination import ContaminationIndex
from tasks.model import tokens
from tasks.records import BadLine
from tasks.settings import Settings

log = logging.getLogger(__name__)

_SMALL = 16 * 2**20  # bytes of input that one process is done with in seconds


def curate(
    inputs: Sequence[str],
    against: Sequence[str],
    out: Path,
    settings: Settings,
    *,
    on: engine.Engine = "native",
    workers: int = 0,
) -> dict[str, Any]:
    """Curate `inputs` into `out`: train, validation and test, the ledger, and the report.

    Writes `train.jsonl`, `validation.jsonl`, `test.jsonl`, `dropped.jsonl`, `data_card.md`,
    `report.html` and `report.json`, and the last one last: where it stands, the others are whole
    and belong to it. The four `.jsonl` files depend on the records alone, not on the order of the
    files given, the engine or the number of workers. Every record in is in exactly one of them.

    Memory is bounded by some hundred bytes a record, not by their length: records wait on disk,
    in `out`, which needs room for about three times the input until the end.

    Args:
        inputs: files, folders, globs or addresses of training records.
        against: benchmarks that must not leak into training, likewise.
        out: folder; other files in it stay.
        settings: `curate` and `base` (whose tokens lengths are counted in).
        on: the engine; with `ray` every node has to see the inputs and `out` under the same paths.
        workers: processes; 0: as many as there are CPUs.

    Returns:
        The content of `report.json`.

    Raises:
        BadInput: an input or a benchmark is missing, empty or unreadable; a file would be
            overwritten that curation did not write; nothing is left to keep; or all that is left
            is one group, so that there is no validation set.
        PerpetuneError: `out` cannot be written, or another curation is writing it.
    """
    began = time.perf_counter()
    if not inputs:
        raise BadInput("curate: no input; name files in curate.inputs or on the command line")
    benchmark_paths = tuple(map(str, outputs.to_read(against, out)))
    benchmarks = read_benchmarks(benchmark_paths, settings.curate)
    tasks = _tasks(
        outputs.to_read(inputs, out), outputs.to_read(settings.curate.replay.inputs, out)
    )
    with _building(out) as building:
        plan = Plan(settings.curate, tokens.locate(settings).absolute(), benchmark_paths, building)
        parts = _sift(tasks, plan, on, workers)
        decided = decide(
            parts, ContaminationIndex(benchmarks, settings.curate.contamination), settings.curate
        )
        assembled = assemble(parts, decided, building)
        if not len(decided.left()):
            counts = ", ".join(f"{name} {n}" for name, n in assembled.dropped.most_common())
            raise BadInput(f"curate: every record was dropped ({counts}). {_help(assembled)}")
        report = write_report(
            building,
            parts,
            decided,
            assembled,
            benchmarks,
            settings,
            engine=on,
            seconds=time.perf_counter() - began,
        )
        outputs.publish(building, out, report)
    return report


def _help(assembled: Assembled) -> str:
    """What the commonest reason means, an example of it, and which setting would change it."""
    (reason, _), *_ = assembled.dropped.most_common()
    explained = explain(reason)
    evidence = assembled.samples[reason][0].evidence
    found = evidence.get("error") or evidence.get("detail") or evidence.get("key")
    role = f" (role {evidence['role']})" if "role" in evidence else ""
    example = f" For instance: {found}{role}." if found else ""
    setting = f" The setting is {explained.setting}." if explained.setting else ""
    return f"{explained.meaning}{example}{setting}"


def _tasks(inputs: Sequence[Path], replay: Sequence[Path]) -> list[Task]:
    """The chunks of all inputs in the order of their files' names, whatever they are for."""
    chunks = [(chunk, False) for chunk in input_chunks(inputs)]
    chunks += [(chunk, True) for chunk in (input_chunks(replay) if replay else [])]
    chunks.sort(key=lambda one: (one[0].path, one[0].start))
    purposes: dict[str, bool] = {}
    for chunk, general in chunks:
        if purposes.setdefault(chunk.path, general) != general:
            raise BadInput(f"{chunk.path}: both an input and in curate.replay.inputs; name it once")
    return [Task(number, *one) for number, one in enumerate(chunks)]


def _sift(tasks: Sequence[Task], plan: Plan, on: engine.Engine, workers: int) -> Parts:
    """Let workers sift the chunks, and see that there is a record at all."""
    sizes = [_size(task) for task in tasks]
    if not workers and on == "native" and sum(sizes) < _SMALL:
        workers = 1  # starting processes would take longer than the work
    with tqdm(
        desc="read and sift",
        total=sum(sizes),
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=None,
        file=sys.stderr,
    ) as bar:
        make = partial(Sifter, plan)
        for number in engine.run(make, [task.to_json() for task in tasks], on, workers):
            bar.update(sizes[int(number)])
    parts = Parts([(plan.part(task.number), task.chunk.path) for task in tasks])
    if not parts.total and not any(part.summary()["passed"].get("read") for part in parts):
        lines = [line for part in parts for line in part.dropped()]
        first = lines[0]
        detail = first["evidence"]["detail"]
        bad = BadLine(first["source"], first["line"], first["reason"], detail)
        raise BadInput(no_record(bad, len(lines)))
    return parts


def _size(task: Task) -> int:
    path = Path(task.chunk.path)
    whole = task.chunk.size < 0 or not task.chunk.path.endswith((".jsonl", ".ndjson"))
    return (path.stat().st_size if path.is_file() else 0) if whole else task.chunk.size


@contextmanager
def _building(out: Path) -> Iterator[Path]:
    """A folder inside `out` for what is not done yet; gone at the end, whatever happens."""
    building, path = out / ".curating", out / ".curating.lock"
    new = not out.exists()
    lock = FileLock(path, timeout=0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise PerpetuneError(f"{out}: another curation is writing this folder") from None
    except OSError as error:
        raise _ended_by(error, out) from error
    try:
        outputs.check(out, building)
        outputs.forget(building)  # what a run that was killed has left
        building.mkdir(exist_ok=True)
        yield building
    except OSError as error:
        raise _ended_by(error, out) from error
    finally:
        outputs.forget(building)
        with suppress(OSError):
            building.rmdir()  # a journal stays
        lock.release()
        path.unlink(missing_ok=True)
        with suppress(OSError):
            if new and not any(out.iterdir()):
                out.rmdir()


def _ended_by(error: OSError, out: Path) -> PerpetuneError:
    # A write into an open file names none; all that curation writes is in `out`.
    return PerpetuneError(f"{error.filename or out}: {error.strerror or error}; curation ended")
