"""Write the records to their files, and the ledger's lines, in order."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from tasks.curate.ledger import Dropped, Evidence
from tasks.curate.run.shards import Shard, Shards, read_row
from tasks.curate.run.statuses import RecordStatus, Statuses
from tasks.curate.run.steps import GLOBAL_STEPS
from tasks.curate.steps.privacy.personal_data import mask_line
from tasks.curate.steps.splits.splits import SPLITS, split_position
from tasks.curate.text.ngrams import Positions

SAMPLES, LEAKS = 3, 8
"""Dropped records of each reason that the report shows; and of contaminated ones."""
EXAMPLES = 4
"""Training records that it shows."""
_DETAILS = 1000


@dataclass(slots=True)
class Tally:
    """What the report counts and shows of the records that were written.

    Attributes:
        dropped: records by reason.
        of_file: records by source, as (in, kept).
        details: by reason, how often the ledger gives which detail (the first thousand of them).
        examples: numbers of training records, drawn by the hash of what they say.
    """

    dropped: Counter[str] = field(default_factory=Counter)
    of_file: dict[str, tuple[int, int]] = field(default_factory=dict)
    details: dict[str, Counter[str]] = field(default_factory=dict)
    examples: list[int] = field(default_factory=list)
    _drawn: dict[str, list[tuple[float, int, Dropped]]] = field(default_factory=dict)

    def enter(self, line: Dropped) -> None:
        """Count a line of the ledger; keep it if it is among the samples."""
        self.dropped[line.reason] += 1
        details = self.details.setdefault(line.reason, Counter())
        detail = line.evidence.get("detail") or line.evidence.get("error")
        if isinstance(detail, str) and (len(details) < _DETAILS or detail in details):
            details[detail] += 1
        _draw(self._drawn.setdefault(line.reason, []), line)

    def samples(self, reason: str) -> list[Dropped]:
        """Ledger lines of a reason, drawn by the hash of their place; of contaminated records
        those with the smallest overlaps, which are the ones to doubt."""
        drawn = sorted(self._drawn.get(reason, []), key=lambda item: (-item[0], -item[1]))
        return [line for _, _, line in drawn]


def write_records(shards: Shards, statuses: Statuses, out: Path) -> Tally:
    """Write `train.jsonl`, `validation.jsonl`, `test.jsonl` and `dropped.jsonl` into `out`."""
    kept = np.unique(statuses.kept[np.flatnonzero(statuses.kept != np.arange(shards.total))])
    identities = dict(zip(kept.tolist(), shards.identities(kept), strict=True))
    tally = Tally()
    examples: list[tuple[int, int]] = []
    with ExitStack() as stack:
        outputs = [stack.enter_context((out / f"{name}.jsonl").open("wb")) for name in SPLITS]
        ledger = stack.enter_context((out / "dropped.jsonl").open("wb"))
        for shard in shards:
            rows = shard.rows()
            status = statuses.status[shard.first : shard.first + shard.count]
            staying = 0
            for row, split in zip(rows, status.tolist(), strict=True):
                if split < len(outputs):
                    outputs[split].write(row)
                    staying += 1
            training = np.flatnonzero(status == RecordStatus.TRAIN)
            examples = heapq.nsmallest(EXAMPLES, [*examples, *_candidates(shard, training)])
            lines = _by_steps_over_all(shard, rows, statuses, identities)
            before = tally.dropped.total()
            for line in heapq.merge(_by_workers(shard), lines, key=lambda line: line.line):
                ledger.write(orjson.dumps(line.row(), option=orjson.OPT_APPEND_NEWLINE))
                tally.enter(line)
            dropped = tally.dropped.total() - before
            count, stayed = tally.of_file.get(shard.source, (0, 0))
            tally.of_file[shard.source] = (count + staying + dropped, stayed + staying)
    tally.examples = [number for _, number in examples]
    return tally


def _by_workers(shard: Shard) -> Iterator[Dropped]:
    """The ledger's lines of records that the steps per record dropped."""
    for line in shard.dropped():
        yield Dropped(**line)


def _by_steps_over_all(
    shard: Shard, rows: Sequence[bytes], statuses: Statuses, identities: dict[int, dict[str, Any]]
) -> Iterator[Dropped]:
    """The ledger's lines of records that the steps over all records dropped."""
    numbers = statuses.dropped()
    begin, end = np.searchsorted(numbers, (shard.first, shard.first + shard.count))
    lines = shard.column("line")
    steps = {reason.name: step.name for step in GLOBAL_STEPS for reason in step.reasons}
    for number in numbers[begin:end].tolist():
        i = number - shard.first
        reason = RecordStatus(statuses.status[number]).reason
        assert reason is not None
        record = read_row(rows[i], shard.source, int(lines[i]))
        evidence = _evidence(number, statuses, identities)
        entry = (steps[reason], reason, evidence, record.text)
        yield mask_line(Dropped(record.id, record.source, record.line, *entry))


def _evidence(number: int, statuses: Statuses, identities: dict[int, dict[str, Any]]) -> Evidence:
    if statuses.status[number] not in (RecordStatus.DUPLICATE, RecordStatus.NEAR_DUPLICATE):
        return statuses.evidence.get(number, {})
    kept = identities[int(statuses.kept[number])]
    evidence = {f"kept_{name}": value for name, value in kept.items()}
    return evidence | {"similarity": round(float(statuses.similarity[number]), 4)}


def _candidates(shard: Shard, numbers: Positions) -> list[tuple[int, int]]:
    """Of these records of a shard the few with the smallest hashes of what they say."""
    keys: npt.NDArray[np.uint64] = shard.column("keys")[:, 0][numbers]
    order = np.argsort(keys, kind="stable")[:EXAMPLES]
    return [(int(keys[i]), shard.first + int(numbers[i])) for i in order]


def _draw(drawn: list[tuple[float, int, Dropped]], line: Dropped) -> None:
    """Keep the line if it is among the first by hash of its place (leaks: by their overlap)."""
    leak = line.reason == RecordStatus.CONTAMINATED.reason
    position = split_position(f"{line.source}:{line.line}")
    if leak:
        position = line.evidence["overlap"] + position / 10**5
    # A heap with the largest on top; no two lines have the same place.
    item = (-position, -line.line, line)
    if len(drawn) < (LEAKS if leak else SAMPLES):
        heapq.heappush(drawn, item)
    elif item[:2] > drawn[0][:2]:
        heapq.heapreplace(drawn, item)
