"""Redact: what is done about the personal data in a record, by the settings.

Texts of the turns are looked at, tool calls included; `id`, `group` and `meta` are the user's own
and stay. What people are shown of any record is masked whatever the settings.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from tasks.curate.ledger import Dropped, FilterResult, drop
from tasks.curate.settings import PersonalDataAction, Privacy
from tasks.curate.steps.privacy.redaction import KINDS, Kind, mask
from tasks.records import Record

STEP = "redact"

_NAMES = ("_id", "_source", "benchmark")


def redact(records: Iterable[Record], settings: Privacy) -> tuple[FilterResult, Counter[str]]:
    """Mask or drop, and count: places by kind, and under `<kind> records` the records."""
    kept: list[Record] = []
    dropped: list[Dropped] = []
    counts: Counter[str] = Counter()
    to_mask, to_drop = _kinds(settings, "mask"), _kinds(settings, "drop")
    for record in records:
        found: Counter[Kind] = Counter()
        refused: Counter[Kind] = Counter()
        changed = _mask_record(record, to_mask, found)
        if to_drop:
            _mask_record(record, to_drop, refused)
        if not (found or refused):
            kept.append(record)
            continue
        for kind in KINDS:
            places = found[kind] + refused[kind]
            counts.update({kind: places, f"{kind} records": 1} if places else {})
        if refused:
            dropped.append(drop(record, STEP, "personal_data", dict(sorted(refused.items()))))
        else:
            kept.append(changed)
    return (kept, dropped), counts


def mask_line(line: Dropped) -> Dropped:
    """The ledger's line, with the personal data masked in what people see of it."""
    evidence = {
        # Names of records and files stay, or nobody could follow them.
        name: value if name.endswith(_NAMES) else _mask_all(value)
        for name, value in line.evidence.items()
    }
    return replace(line, evidence=evidence, text=mask(line.text)[0])


def _kinds(settings: Privacy, action: PersonalDataAction) -> list[Kind]:
    return [kind for kind in KINDS if getattr(settings, kind) == action]


def _mask_record(record: Record, kinds: Collection[Kind], found: Counter[Kind]) -> Record:
    """The record with every text of its content masked."""

    def change(text: str) -> str:
        masked, counts = mask(text, kinds)
        if counts:
            found.update(counts)
        return masked

    return record.mapped(change)


def _mask_all(value: Any) -> Any:
    """`value` with all personal data masked in every text in it."""
    if isinstance(value, str):
        return mask(value)[0]
    if isinstance(value, dict):
        return {name: _mask_all(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_mask_all(inner) for inner in value]
    return value
