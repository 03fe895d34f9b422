"""Curate: from files of raw records to files of splits, step by step."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from tqdm import tqdm

from tasks.core.errors import BadInput, PerpetuneError
from tasks.core.locks import exclusive
from tasks.curate.reasons import explain
from tasks.curate.report.report import write_report
from tasks.curate.results import CurationReport
from tasks.curate.run import engine, outputs
from tasks.curate.run.shards import Shards
from tasks.curate.run.statuses import Statuses
from tasks.curate.run.steps import GLOBAL_STEPS
from tasks.curate.run.worker import Chunk, ChunkWorker
from tasks.curate.run.writer import Tally, write_records
from tasks.curate.step import GlobalRun, WorkerConfig
from tasks.curate.steps.contamination.benchmarks import read_benchmarks
from tasks.curate.steps.reading.inputs import input_chunks, no_record
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
) -> CurationReport:
    """Curate `inputs` into `out`: train, validation and test, the ledger, and the report.

    Writes `train.jsonl`, `validation.jsonl`, `test.jsonl`, `dropped.jsonl`, `data_card.md`,
    `report.html` and `report.json`, the last one last: where it exists, the others are whole and
    belong to it. The four `.jsonl` files depend on the records alone, not on the order of the files
    given, the engine or the number of workers. Every record in is in exactly one of them.

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
        What `report.json` holds.

    Raises:
        BadInput: an input or a benchmark is missing, empty or unreadable; a file would be
            overwritten that curation did not write; nothing is left to keep; or all that is left
            is one group, so that there is no validation set.
        PerpetuneError: `out` cannot be written, or another curation is writing it.
    """
    began = time.perf_counter()
    if not inputs:
        raise BadInput("curate: no input; name files in curate.inputs or on the command line")
    compared = tuple(map(str, outputs.to_read(against, out)))
    benchmarks = read_benchmarks(compared, settings.curate)
    chunks = _chunks(
        outputs.to_read(inputs, out), outputs.to_read(settings.curate.replay.inputs, out)
    )
    with _building(out) as building:
        tokenizer = tokens.locate(settings).absolute()
        config = WorkerConfig(settings.curate, tokenizer, compared, building / "shards")
        shards = _run_workers(chunks, config, on, workers)
        statuses = Statuses.undecided(shards.total)
        run = GlobalRun(shards, statuses, settings.curate, benchmarks, building / "steps")
        _run_global_steps(run)
        tally = write_records(shards, statuses, building)
        _refuse_nothing(statuses, tally)
        seconds = time.perf_counter() - began
        report = write_report(building, run, tally, settings, engine=on, seconds=seconds)
        return outputs.publish(building, out, report)


def _chunks(inputs: Sequence[Path], replay: Sequence[Path]) -> list[Chunk]:
    """The chunks of all inputs in the order of their files' names, whatever they are for."""
    chunks = [(chunk, False) for chunk in input_chunks(inputs)]
    chunks += [(chunk, True) for chunk in (input_chunks(replay) if replay else [])]
    chunks.sort(key=lambda item: (item[0].path, item[0].start))
    purposes: dict[str, bool] = {}
    for chunk, general in chunks:
        if purposes.setdefault(chunk.path, general) != general:
            raise BadInput(f"{chunk.path}: both an input and in curate.replay.inputs; name it once")
    return [Chunk(number, *item) for number, item in enumerate(chunks)]


def _run_workers(
    chunks: Sequence[Chunk], config: WorkerConfig, on: engine.Engine, workers: int
) -> Shards:
    """The steps per record: each chunk becomes a shard. Refuses inputs without a record."""
    sizes = [_size(chunk) for chunk in chunks]
    if not workers and on == "native" and sum(sizes) < _SMALL:
        workers = 1  # starting processes would take longer than the work
    with tqdm(
        desc="read and filter",
        total=sum(sizes),
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=None,
        file=sys.stderr,
    ) as bar:
        make = partial(ChunkWorker, config)
        for number in engine.run(make, [chunk.to_json() for chunk in chunks], on, workers):
            bar.update(sizes[int(number)])
    shards = Shards([(config.shard(chunk.number), chunk.chunk.path) for chunk in chunks])
    if not shards.total and not any(shard.summary()["passed"].get("read") for shard in shards):
        lines = [line for shard in shards for line in shard.dropped()]
        first = lines[0]
        detail = first["evidence"]["detail"]
        bad = BadLine(first["source"], first["line"], first["reason"], detail)
        raise BadInput(no_record(bad, len(lines)))
    return shards


def _run_global_steps(run: GlobalRun) -> None:
    """The steps over all records, as long as there is one left."""
    for step in GLOBAL_STEPS:
        before = len(run.statuses.remaining())
        if before and step.applies(run):
            step.decide(run)
            run.statuses.enter_step(step.title, before)


def _refuse_nothing(statuses: Statuses, tally: Tally) -> None:
    """Raise where no record is left: what the commonest reason means, and which setting decides."""
    if len(statuses.remaining()):
        return
    counts = ", ".join(f"{name} {n}" for name, n in tally.dropped.most_common())
    (name, _), *_ = tally.dropped.most_common()
    reason = explain(name)
    evidence = tally.samples(name)[0].evidence
    found = evidence.get("error") or evidence.get("detail") or evidence.get("key")
    role = f" (role {evidence['role']})" if "role" in evidence else ""
    example = f" For instance: {found}{role}." if found else ""
    setting = f" The setting is {reason.setting}." if reason.setting else ""
    raise BadInput(
        f"curate: every record was dropped ({counts}). {reason.meaning}{example}{setting}"
    )


def _size(chunk: Chunk) -> int:
    path = Path(chunk.chunk.path)
    whole = chunk.chunk.size < 0 or not chunk.chunk.path.endswith((".jsonl", ".ndjson"))
    return (path.stat().st_size if path.is_file() else 0) if whole else chunk.chunk.size


@contextmanager
def _building(out: Path) -> Iterator[Path]:
    """A folder inside `out` for what is not done yet; gone at the end, whatever happens."""
    building, lock = out / ".curating", out / ".curating.lock"
    new = not out.exists()
    busy = PerpetuneError(f"{out}: another curation is writing this folder")
    try:
        with exclusive(lock, busy):
            try:
                with _emptied(building, out):
                    yield building
            finally:
                lock.unlink(missing_ok=True)
    except OSError as error:
        # A write into an open file names none; all that curation writes is in `out`.
        raise PerpetuneError(
            f"{error.filename or out}: {error.strerror or error}; curation ended"
        ) from error
    finally:
        with suppress(OSError):
            if new and not any(out.iterdir()):
                out.rmdir()


@contextmanager
def _emptied(building: Path, out: Path) -> Iterator[None]:
    outputs.check(out, building)
    outputs.forget(building)  # what a run that was killed has left
    building.mkdir(exist_ok=True)
    try:
        yield
    finally:
        outputs.forget(building)
        with suppress(OSError):
            building.rmdir()  # a journal stays
