"""What the report shows of single records: dropped ones with their evidence, training examples.

Personal data is masked in all of it, whatever the settings keep.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks import records
from tasks.core.errors import BadInput
from tasks.curate.ledger import Dropped
from tasks.curate.reasons import explain
from tasks.curate.report import alignment
from tasks.curate.report.alignment import Marked
from tasks.curate.run.shards import Shards
from tasks.curate.run.writer import Tally
from tasks.curate.step import GlobalRun
from tasks.curate.steps.contamination.benchmarks import Benchmark
from tasks.curate.steps.privacy.redaction import mask
from tasks.model.decoder import TEMPLATE_ERRORS
from tasks.model.encoding import pieces
from tasks.model.tokens import Tokenizer
from tasks.records import Chunk, Preference, Record
from tasks.rendering.markdown import clip

_CHARACTERS = 500
_FIELDS = 16
_SHOWN = (
    "benchmark", "benchmark_id", "benchmark_line", "part", "overlap", "ngram", "bits",
    "rare_words", "setting",
)  # fmt: skip
_NEAR_START = 100_000
"""Lines into a chunk that are read again to show one as it came."""


@dataclass(frozen=True, slots=True)
class ReportExamples:
    """What people are shown of single records, ready for the templates.

    Attributes:
        reasons: each reason with samples of its records, the most frequent first.
        leaks: contaminated records beside the benchmark's passages.
        training: examples of training records.
    """

    reasons: list[dict[str, Any]]
    leaks: list[dict[str, Any]]
    training: list[dict[str, Any]]


def collect_examples(run: GlobalRun, tally: Tally, tokenizer: Tokenizer) -> ReportExamples:
    """What report and data card show of single records.

    Args:
        run: all records.
        tally: of the records that were written.
        tokenizer: the base model's.
    """
    leaks = _each_once(tally.samples("contaminated"))
    return ReportExamples(
        _reasons(run.shards, tally),
        [_leak(line, run.benchmarks) for line in leaks],
        [_example(run.shards, number, tokenizer) for number in tally.examples],
    )


def _reasons(shards: Shards, tally: Tally) -> list[dict[str, Any]]:
    counted = sorted(tally.dropped.items(), key=lambda item: (-item[1], item[0]))
    return [
        {
            "name": reason,
            "step": tally.samples(reason)[0].step,
            "count": count,
            "meaning": explain(reason).meaning,
            "setting": explain(reason).setting,
            "samples": [_sample(shards, line) for line in tally.samples(reason)],
        }
        for reason, count in counted
    ]


def _sample(shards: Shards, line: Dropped) -> dict[str, Any]:
    """A dropped record, its evidence, and beside it the record that the evidence names, if any."""
    evidence = dict(line.evidence)
    text: Marked = [(clip(evidence.pop("excerpt", line.text), _CHARACTERS), False)]
    other = None
    side = next((side for side in ("kept", "held_out") if f"{side}_id" in evidence), None)
    if side:
        of_other = {name: evidence.pop(f"{side}_{name}") for name in ("id", "source", "line")}
        other_text = _text_at(shards, of_other["source"], of_other["line"])
        marked: Marked = []
        if other_text is not None and side == "kept":
            text, marked = alignment.changed(line.text, other_text)
        elif other_text is not None:
            text, marked = alignment.shared(line.text, other_text, evidence["ngram"])
        other = of_other | {"side": side, "text": marked}
    return {
        "id": line.id,
        "source": line.source,
        "line": line.line,
        "text": text,
        "other": other,
        "evidence": evidence,
    }


def _text_at(shards: Shards, source: str, line: int) -> str | None:
    """The text of the record that was read from there; None where the path itself is masked."""
    for shard in shards:
        lines = shard.column("line")
        i = int(lines.searchsorted(line))
        if shard.source == source and i < len(lines) and lines[i] == line:
            return mask(shards.record(shard.first + i).text)[0]
    return None


def _each_once(lines: Sequence[Dropped]) -> Iterator[Dropped]:
    """Leaks; of records that share the text which leaks, the first."""
    seen = set()
    for line in lines:
        text = (line.evidence.get("place"), line.evidence["text"])
        if "records" not in line.evidence or text not in seen:
            seen.add(text)
            yield line


def _leak(line: Dropped, benchmarks: Sequence[Benchmark]) -> dict[str, Any]:
    """A contaminated record beside the benchmark's passage; marked is what both have."""
    evidence = line.evidence
    leaked = next(
        (
            record
            for benchmark in benchmarks
            if benchmark.path == evidence["benchmark"]
            for record in benchmark.records
            if record.line == evidence["benchmark_line"]
        ),
        None,
    )
    passage = mask(leaked.part_text(evidence["part"]))[0] if leaked else evidence["benchmark_text"]
    text, marked = alignment.shared(line.text, passage, evidence["ngram"])
    if not any(mark for _, mark in text):
        # In disguise, or outside of the turns: the evidence has the words as they are.
        text = [(clip(evidence["text"], _CHARACTERS), False)]
    return {
        "id": line.id,
        "source": line.source,
        "line": line.line,
        "text": text,
        "benchmark_text": marked,
        "place": evidence.get("place", ""),
        "records": evidence.get("records", 1),
        **{name: evidence[name] for name in _SHOWN},
    }


def _example(shards: Shards, number: int, tokenizer: Tokenizer) -> dict[str, Any]:
    """A training record: its line as it came, and what the model reads of it."""
    record = shards.record(number)
    shard, local = next(iter(shards.split(np.array([number]))))
    source, line = record.origin or (record.source, record.line)
    return {
        "id": record.id,
        "source": source,
        "line": line,
        "tokens": int(shard.column("tokens")[local[0]]),
        "before": _before(Chunk(**shard.summary()["chunk"]), record.line),
        "after": [
            {"label": label, "text": _read(chat, tokenizer)} for label, chat in _chats(record)
        ],
        "turns": _turns(record),
    }


def _before(chunk: Chunk, line: int) -> list[tuple[str, str]]:
    """The fields of the line as it came; none where finding it again would take long."""
    if line - chunk.first_line > _NEAR_START:
        return []
    try:
        value = records.original(chunk, line)
    except BadInput:
        return []
    found = [(clip(path, 80), clip(mask(text)[0], _CHARACTERS)) for path, text in _fields(value)]
    return [*found[:_FIELDS], *([("…", f"{len(found) - _FIELDS} more")] if found[_FIELDS:] else [])]


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text, number and so on inside `value`, with the way to it."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _fields(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _fields(inner, f"{path}[{number}]")
    elif value is not None:
        yield path, value if isinstance(value, str) else json.dumps(value, default=str)


def _chats(record: Record) -> list[tuple[str, Record]]:
    """What there is to read, with a name where that is more than one thing."""
    if isinstance(record, Preference):
        return list(record.chats().items())
    return [("", record)]


def _read(record: Record, tokenizer: Tokenizer) -> Marked:
    """The record as the model reads it, what it learns marked."""
    from jinja2 import TemplateError

    try:
        found = pieces(record, tokenizer)
    except (BadInput, TemplateError, *TEMPLATE_ERRORS):
        found = [(record.text, False)]  # training will say so
    return [(clip(mask(text)[0], 2 * _CHARACTERS), learned) for text, learned in found]


def _turns(record: Record) -> list[tuple[str, str]]:
    """Who says what in it, without what the template adds."""
    texts = [(turn.role, turn.text) for turn in record.turns]
    if isinstance(record, Preference):
        texts = [(turn.role, turn.text) for turn in record.context]
        texts += [("chosen", turn.text) for turn in record.chosen]
        texts += [("rejected", turn.text) for turn in record.rejected]
    return [(role, clip(mask(text)[0], _CHARACTERS)) for role, text in texts]
