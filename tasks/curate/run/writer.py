"""Assembly: the decided records go to their files, and the ledger gets its lines, in order."""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from tasks.curate.ledger import Dropped
from tasks.curate.run.global_steps import DUPLICATE, NEAR_DUPLICATE, REASONS, Decided, identities
from tasks.curate.run.shards import Part, Parts, read_row
from tasks.curate.steps.privacy.personal_data import shown
from tasks.curate.steps.splits import splits
from tasks.curate.steps.splits.splits import SPLITS, split_position

SAMPLES, LEAKS = 3, 8
"""Dropped records of each reason that the report shows; and of contaminated ones."""
EXAMPLES = 4
"""Training records that it shows."""
_DETAILS = 1000


@dataclass(slots=True)
class Assembled:
    """What the report counts and shows.

    Attributes:
        dropped: records by reason.
        of_file: records by source, as (in, kept).
        samples: ledger lines by reason, drawn by the hash of their place; the contaminated ones
            with the smallest overlaps, which are the ones to doubt.
        examples: numbers of training records, drawn by the hash of what they say.
        details: by reason, how often the ledger gives which detail (the first thousand of them).
    """

    dropped: Counter[str] = field(default_factory=Counter)
    of_file: dict[str, tuple[int, int]] = field(default_factory=dict)
    samples: dict[str, list[Dropped]] = field(default_factory=dict)
    examples: list[int] = field(default_factory=list)
    details: dict[str, Counter[str]] = field(default_factory=dict)


def assemble(parts: Parts, decided: Decided, out: Path) -> Assembled:
    """Write `train.jsonl`, `validation.jsonl`, `test.jsonl` and `dropped.jsonl` into `out`."""
    stand_ins = np.unique(decided.kept[np.flatnonzero(decided.kept != np.arange(parts.total))])
    known = dict(zip(stand_ins.tolist(), identities(parts, stand_ins), strict=True))
    assembled = Assembled()
    draws: dict[str, list[tuple[float, int, Dropped]]] = {}
    examples: list[tuple[int, int]] = []
    outputs = [(out / f"{name}.jsonl").open("wb") for name in SPLITS]
    with (out / "dropped.jsonl").open("wb") as ledger:
        for part in parts:
            rows = part.rows()
            verdicts = decided.verdict[part.first : part.first + part.count].tolist()
            for row, verdict in zip(rows, verdicts, strict=True):
                if verdict < len(SPLITS):
                    outputs[verdict].write(row)
            keys = part.column("keys")[:, 0]
            for number in _drawn(np.flatnonzero(np.array(verdicts) == splits.TRAIN), keys):
                examples.append((int(keys[number]), part.first + number))
            examples = heapq.nsmallest(EXAMPLES, examples)
            before = sum(assembled.dropped.values())
            late = _late(part, rows, decided, known)
            for line in heapq.merge(_early(part), late, key=lambda line: line.line):
                ledger.write(orjson.dumps(line.row(), option=orjson.OPT_APPEND_NEWLINE))
                assembled.dropped[line.reason] += 1
                _count(assembled.details.setdefault(line.reason, Counter()), line)
                _draw(draws.setdefault(line.reason, []), line)
            gone = sum(assembled.dropped.values()) - before
            count, kept = assembled.of_file.get(part.source, (0, 0))
            staying = sum(verdict < len(SPLITS) for verdict in verdicts)
            assembled.of_file[part.source] = (count + staying + gone, kept + staying)
    for output in outputs:
        output.close()
    assembled.samples = {
        reason: [line for _, _, line in sorted(drawn, key=lambda one: (-one[0], -one[1]))]
        for reason, drawn in draws.items()
    }
    assembled.examples = [number for _, number in examples]
    return assembled


def _early(part: Part) -> Iterator[Dropped]:
    """Lines of the ledger that the worker wrote."""
    for line in part.dropped():
        yield Dropped(**line)


def _late(
    part: Part, rows: list[bytes], decided: Decided, known: dict[int, dict[str, Any]]
) -> Iterator[Dropped]:
    """Lines for the records that were dropped since."""
    verdicts = decided.verdict[part.first : part.first + part.count]
    lines = part.column("line")
    for number in np.flatnonzero(verdicts >= min(REASONS)).tolist():
        verdict, of_all = int(verdicts[number]), part.first + number
        if verdict in (DUPLICATE, NEAR_DUPLICATE):
            stands = known[int(decided.kept[of_all])]
            evidence: dict[str, Any] = {f"kept_{name}": value for name, value in stands.items()}
            evidence["similarity"] = round(float(decided.similarity[of_all]), 4)
        else:
            evidence = decided.evidence.get(of_all, {})
        record = read_row(rows[number], part.source, int(lines[number]))
        step, reason = REASONS[verdict]
        yield shown(
            Dropped(record.id, record.source, record.line, step, reason, evidence, record.text)
        )


def _drawn(numbers: Any, keys: Any) -> list[int]:
    """The few of these records with the smallest hashes of what they say."""
    order = np.argsort(keys[numbers], kind="stable")[:EXAMPLES]
    found: list[int] = numbers[order].tolist()
    return found


def _count(details: Counter[str], line: Dropped) -> None:
    """Enter the detail of a line, if it has one."""
    detail = line.evidence.get("detail") or line.evidence.get("error")
    if isinstance(detail, str) and (len(details) < _DETAILS or detail in details):
        details[detail] += 1


def _draw(drawn: list[tuple[float, int, Dropped]], line: Dropped) -> None:
    """Keep the line if it is among the first by hash of its place (leaks: by their overlap)."""
    leak = line.reason == "contaminated"
    at = split_position(f"{line.source}:{line.line}")
    if leak:
        at = line.evidence["overlap"] + at / 10**5
    # A heap with the largest on top; no two lines have the same place.
    item = (-at, -line.line, line)
    if len(drawn) < (LEAKS if leak else SAMPLES):
        heapq.heappush(drawn, item)
    elif item[:2] > drawn[0][:2]:
        heapq.heapreplace(drawn, item)
