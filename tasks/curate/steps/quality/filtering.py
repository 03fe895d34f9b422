"""Ask the quality filters about records; the first that finds something drops the record."""

from collections.abc import Iterable, Sequence
from typing import Any

from tasks.curate.ledger import FilterResult, drop
from tasks.curate.steps.quality.filters import FILTERS, Filter
from tasks.curate.steps.quality.measurements import Measurements
from tasks.records import Record
from tasks.settings.section import Section

STEP = "quality"


def ordered_filters() -> list[Filter[Any]]:
    """All filters in the order in which they are asked."""
    return sorted(FILTERS, key=lambda member: (member.order, member.name))


def active_filters(settings: Section) -> list[Filter[Any]]:
    """Those that the settings turn on, in that order.

    Raises:
        BadInput: the settings name something that there is not, such as a language.
    """
    active = [member for member in ordered_filters() if member.is_on(settings)]
    for member in active:
        member.validate(settings)
    return active


def apply_filters(
    records: Iterable[Record],
    filters: Sequence[Filter[Any]],
    settings: Section,
    measured: Measurements,
) -> FilterResult:
    """Drop each record for the first reason found, if any."""
    kept, dropped = [], []
    checks = [(member.name, member.check) for member in filters]
    for record in records:
        for name, check in checks:
            evidence = check(record, settings, measured)
            if evidence is not None:
                dropped.append(drop(record, STEP, name, evidence))
                break
        else:
            kept.append(record)
    return kept, dropped
