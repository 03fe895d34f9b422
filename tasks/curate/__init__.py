"""Curate: raw records in; splits for training out, and a ledger of every record that was dropped.

Every record that comes in is either kept, in exactly one split, or dropped, with the step, the
reason and the evidence. `run.steps` lists the steps in their order. The first ones look at one
record at a time, chunk by chunk, in worker processes; what later steps compare records by is left
beside the records in immutable shards on disk. The later steps see all records at once, as numbers.
Then the records go to their files, the dropped ones into the ledger, and people get something to
read (`report`). What is compared is normalised text; what is written is the user's own.

The names of this package are imported when they are first used: its settings need nothing of it.
"""

from typing import TYPE_CHECKING

from tasks.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tasks.curate.contamination import ContaminationSearch, Leak, find_contamination
    from tasks.curate.project import Sources, choose_sources
    from tasks.curate.results import CurationCounts, CurationReport
    from tasks.curate.run.pipeline import curate
    from tasks.curate.steps.privacy.personal_data import redact
    from tasks.curate.steps.quality.filters import FILTERS, Filter

__all__ = [
    "FILTERS",
    "ContaminationSearch",
    "CurationCounts",
    "CurationReport",
    "Filter",
    "Leak",
    "Sources",
    "choose_sources",
    "curate",
    "find_contamination",
    "redact",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "ContaminationSearch": "contamination",
        "CurationCounts": "results",
        "CurationReport": "results",
        "FILTERS": "steps.quality.filters",
        "Filter": "steps.quality.filters",
        "Leak": "contamination",
        "Sources": "project",
        "choose_sources": "project",
        "curate": "run.pipeline",
        "find_contamination": "contamination",
        "redact": "steps.privacy.personal_data",
    },
)
