"""The steps in their order, and the six files that come out."""

import logging
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tasks import base_model, files
from tasks.curate import contamination, duplicates, quality
from tasks.curate.advice import advise
from tasks.curate.ledger import Dropped, Sieved, place
from tasks.curate.lengths import measure
from tasks.curate.reading import Benchmark, read_benchmarks, read_inputs
from tasks.curate.report import page, summary
from tasks.curate.splits import Split, split
from tasks.errors import BadInput, PerpetuneError
from tasks.records import Record
from tasks.settings import Settings

log = logging.getLogger(__name__)


def curate(
    inputs: Sequence[str], against: Sequence[str], out: Path, settings: Settings
) -> dict[str, Any]:
    """Curate `inputs` into `out`: train, validation and test, the ledger, and the report.

    Writes `train.jsonl`, `validation.jsonl`, `test.jsonl`, `dropped.jsonl`, `report.json` and
    `report.html`, nothing else, and `report.json` last: where it stands, the others are whole and
    belong to it. The four `.jsonl` files depend on the records alone, not on the order of the
    files given. Every record in is in exactly one of them.

    Args:
        inputs: files, folders or globs of training records.
        against: benchmarks that must not leak into training, likewise.
        out: folder; other files in it stay.
        settings: `curate` and `base` (whose tokens lengths are counted in).

    Returns:
        The content of `report.json`.

    Raises:
        BadInput: an input or a benchmark is missing, empty or unreadable; nothing is left to keep;
            or all that is left is one group, so that there is no validation set.
        PerpetuneError: `out` cannot be written.
    """
    began = time.perf_counter()
    if not inputs:
        raise BadInput("curate: no input; name files in curate.inputs or on the command line")
    benchmarks = read_benchmarks(against)
    records, dropped = read_inputs(inputs)
    funnel = [("read", len(records) + len(dropped), len(records))]
    lengths = measure(records, base_model.load_tokenizer(settings), settings.curate.max_tokens)
    for name, step in _steps(benchmarks, settings, quality.filters(settings.curate, lengths)):
        before = len(records)
        records, gone = step(records)
        dropped += gone
        funnel.append((name, before, len(records)))
        log.info("%s: %d of %d records go on", name, len(records), before)
    reasons = Counter(line.reason for line in dropped)
    if not records:
        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        raise BadInput(f"curate: every record was dropped ({counts}); see the curate settings")
    parts = split(records, settings.curate)
    dropped.sort(key=lambda line: (line.source, line.line))
    report = summary(
        parts=parts,
        dropped=dropped,
        funnel=funnel,
        benchmarks=benchmarks,
        tokens=[lengths.tokens[place(record)] for record in records],
        advice=advise(parts, reasons, benchmarks, settings.curate),
        seconds=time.perf_counter() - began,
    )
    for sentence in report["advice"]:
        log.warning("%s", sentence)
    _write(out, parts, dropped, report, settings)
    return report


def _steps(
    benchmarks: Sequence[Benchmark], settings: Settings, filters: Sequence[quality.Filter]
) -> list[tuple[str, Callable[[Sequence[Record]], Sieved]]]:
    """The sieves in their order. Redaction belongs after quality, mixing after the last."""
    against = partial(contamination.decontaminate, benchmarks=benchmarks, settings=settings.curate)
    return [
        (quality.STEP, partial(quality.sieve, pipeline=filters)),
        (duplicates.STEP, duplicates.drop_duplicates),
        (contamination.STEP, against),
    ]


def _write(
    out: Path,
    parts: Mapping[Split, Sequence[Record]],
    dropped: Sequence[Dropped],
    report: Mapping[str, Any],
    settings: Settings,
) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=out, prefix=".", suffix=".partial"))
    except OSError as error:
        raise PerpetuneError(f"{out}: cannot be written: {error}") from error
    try:
        for name, records in parts.items():
            files.write_jsonl(building / f"{name}.jsonl", (record.row() for record in records))
        files.write_jsonl(building / "dropped.jsonl", (line.row() for line in dropped))
        files.write_text(building / "report.html", page(report, parts, dropped, settings))
        files.write_json(building / "report.json", report)
        (out / "report.json").unlink(missing_ok=True)
        for path in sorted(building.iterdir(), key=lambda path: path.name == "report.json"):
            path.replace(out / path.name)
    except OSError as error:
        raise PerpetuneError(f"{out}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
