"""The steps of curation in their order."""

from tasks.curate.step import GlobalStep, Step
from tasks.curate.steps.contamination.step import Decontaminate
from tasks.curate.steps.duplicates.step import ExactDuplicates, NearDuplicates
from tasks.curate.steps.privacy.step import Redact
from tasks.curate.steps.quality.step import Quality
from tasks.curate.steps.reading.step import Read
from tasks.curate.steps.replay.step import Mix
from tasks.curate.steps.splits.step import Split

RECORD_STEPS: tuple[Step, ...] = (Read(), Quality(), Redact())
"""They look at one record at a time, in workers."""

GLOBAL_STEPS: tuple[GlobalStep, ...] = (
    ExactDuplicates(),
    NearDuplicates(),
    Decontaminate(),
    Split(),
    Mix(),
)
"""They compare all records, in the driver."""

STEPS: tuple[Step, ...] = (*RECORD_STEPS, *GLOBAL_STEPS)
